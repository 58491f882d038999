"""The instruments of a run, made from the user's files, and how a report names them."""

from dataclasses import dataclass
from pathlib import Path

from difffae.config import read_model_config
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.rig import Rig
from difffae.loading import BUNDLED, load_rig
from difffae.metrics.embedding import InceptionEmbedding, PictureEmbedding, SqueezeNetEmbedding
from difffae.metrics.identity import load_embedder
from difffae.metrics.inception import load_fid_inception
from difffae.metrics.landmarks import LandmarkMeter
from difffae.metrics.lpips import load_lpips
from difffae.metrics.meter import Instruments
from difffae.metrics.parameter_meter import Bases, ParameterMeter
from difffae.metrics.perceptual import FeatureDistance, load_feature_distance
from difffae.metrics.realism import RealismMeter
from difffae.metrics.report import InstrumentNames
from difffae.metrics.settings import FACEMESH_TRACKER, EvaluateConfig

STAND_IN = BUNDLED / "lite-256"
HEAD_MODEL = "head_model.safetensors"
NUM_FLAME_JAW = 3
CROP = (
    "the model's working crop at its own size; real frames of self are the truth in that crop, of "
    "cross the driver's cropped as a source's would be; the whole 256 px face crop where the face "
    "fills it or no model is measured."
)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """All that measures a run."""

    instruments: Instruments
    parameters: ParameterMeter
    realism: RealismMeter | None
    names: InstrumentNames


def load_parameter_meter(tracker: str) -> ParameterMeter:
    """The rig that reads APD, AED and ALD.

    Args:
        tracker: "facemesh", the stand-in that ships; or the YAML of a model, whose rig is used:
            with `face.rig: flame` and the licensed files, the paper's DECA and FLAME.

    Raises:
        ValueError: the configuration or a licensed file cannot be used.
    """
    if tracker == FACEMESH_TRACKER:
        config = read_model_config(STAND_IN / "config.yaml")
        rig = load_rig(config.face, config.image_size, STAND_IN / HEAD_MODEL)
        name = "facemesh rig (stand-in: MediaPipe's mesh, lite-256's head model; not DECA)"
        return ParameterMeter(rig, name=name, bases=_bases(rig))
    path = Path(tracker)
    config = read_model_config(path)
    rig = load_rig(config.face, config.image_size, path.parent / HEAD_MODEL)
    if config.face.rig == "flame":
        return ParameterMeter(rig, name="DECA and FLAME", num_jaw=NUM_FLAME_JAW)
    name = f"facemesh rig of {path} (stand-in; not DECA)"
    return ParameterMeter(rig, name=name, bases=_bases(rig))


def _bases(rig: Rig) -> Bases | None:
    if not isinstance(rig, FaceMeshRig):
        return None
    return Bases(expression=rig.head_model.expression_basis, shape=rig.head_model.shape_basis)


def load_measurement(config: EvaluateConfig) -> Measurement:
    """Everything that the options name.

    Raises:
        ValueError: a file is missing, damaged or of another kind.
    """
    features = load_feature_distance(config.weights_features) if config.weights_features else None
    lpips = load_lpips(config.weights_lpips) if config.weights_lpips else None
    embedding = _picture_embedding(config.weights_inception, features)
    parameters = load_parameter_meter(config.tracker)
    embedder = load_embedder(config.weights_embedder) if config.weights_embedder else None
    instruments = Instruments(
        LandmarkMeter(),
        embedder=embedder,
        features=features,
        lpips=lpips,
        parameters=parameters,
        realism=embedding,
    )
    source = "the source's own" if config.light == "source" else "the driver's"
    since = "relative to the driver's first frame" if config.motion == "relative" else "absolute"
    names = InstrumentNames(
        tracker=parameters.name,
        has_jaw=parameters.num_jaw > 0,
        embedder=embedder.name if embedder else None,
        realism=embedding.name if embedding else None,
        realism_columns=embedding.columns if embedding else ("FID", "KID x1000"),
        crop=CROP,
        perceptual=lpips.name if lpips else None,
        temporal=instruments.temporal_name,
        cross=f"motion {since}, {source} light",
    )
    return Measurement(
        instruments=instruments,
        parameters=parameters,
        realism=RealismMeter(embedding, seed=config.seed) if embedding else None,
        names=names,
    )


def _picture_embedding(
    inception: Path | None, features: FeatureDistance | None
) -> PictureEmbedding | None:
    """FID's features with the user's weights; else SqueezeNet's under their own name; else none."""
    if inception is not None:
        return InceptionEmbedding(load_fid_inception(inception))
    return SqueezeNetEmbedding(features) if features is not None else None
