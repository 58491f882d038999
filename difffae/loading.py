"""A model's folder in, a pipeline ready to run out; networks and face parts load side by side."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from difffae.checkpoint import WeightsError, load_module, load_tensors, read_ledger
from difffae.config import ModelConfig, read_model_config
from difffae.face.completion import warm_up as warm_up_completion
from difffae.face.config import FaceConfig
from difffae.face.dense_motion import DenseMotion, DenseMotionNetwork
from difffae.face.facemesh import FaceMeshModel
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.face.mediapipe import MediaPipeTracker, PersonSegmenter
from difffae.face.mouth import INTERIOR_SHAPE
from difffae.face.renderer import warm_up
from difffae.face.rig import Rig
from difffae.face.teeth import TEETH_SHAPE
from difffae.generator import Generator, Placement
from difffae.networks import load_networks
from difffae.paste_back import warm_up as warm_up_paste_back
from difffae.pipeline import Pipeline
from difffae.runtime import TakingTurns, compile_network
from difffae.runtime.calibration_file import load_calibrations
from difffae.runtime.network import Precision, RuntimeName
from difffae.runtime.threads import limit_threads

BUNDLED = Path(__file__).parent / "weights"
_HEAD_MODEL = "head_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class _FaceParts:
    rig: Rig
    tracker: MediaPipeTracker
    segmenter: PersonSegmenter


def load_pipeline(
    model: str | Path = "lite-256",
    *,
    device: str = "cpu",
    runtime: RuntimeName = "auto",
    precision: Precision = "auto",
    num_threads: int | None = None,
) -> Pipeline:
    """Load a model and everything around it.

    Args:
        model: a bundled model's name, or a folder with config.yaml and one safetensors file a part.
        device: "cpu" or "cuda".
        runtime: see `difffae.runtime`.
        precision: see `difffae.runtime.network`; "int8" is for OpenVINO, "fp16" for CUDA.
        num_threads: of one network's inference on the CPU, and of PyTorch and OpenCV in this whole
            process; None leaves these as they are.

    Raises:
        WeightsError: no such model, or a file is missing, damaged or not the ledger's.
        LicensedFileError: the model needs a licensed file that is missing or cannot be used.
    """
    folder = find_folder(model)
    try:
        config = read_model_config(folder / "config.yaml")
    except ValueError as error:
        raise WeightsError(str(error)) from error
    hashes = _ledger_hashes(folder)
    if num_threads is not None:
        limit_threads(num_threads)
    networks = dict(load_networks(folder, config, hashes))
    mover = networks.pop("dense_motion", None)
    placement = Placement(
        device=device,
        runtime=runtime,
        precision=precision,
        num_threads=num_threads or 2,
        calibrations=load_calibrations(folder, hashes),
    )
    with ThreadPoolExecutor(2) as beside:  # compiling needs no Python, the face parts much of it
        moving = None if mover is None else beside.submit(compile_dense_motion, mover, placement)
        compiling = beside.submit(Generator, config, networks, placement=placement)
        parts = _load_face_parts(folder, config, hashes, moving, device)
        generator = compiling.result()
    return Pipeline(
        config=config,
        rig=parts.rig,
        generator=generator,
        tracker=parts.tracker,
        segmenter=parts.segmenter,
    )


def load_rig(
    config: FaceConfig,
    size: int,
    head_model: Path | None,
    *,
    sha256: str | None = None,
    dense_motion: DenseMotion | None = None,
    device: str = "cpu",
) -> Rig:
    """The face rig of a model.

    Args:
        config: which rig.
        size: side of its crops and conditions [px].
        head_model: file of the bundled kind of head model; not read for FLAME.
        sha256: its expected hash, where known.
        dense_motion: what corrects the motion around the face; None: nothing does.
        device: where DECA runs; the bundled kind stays on the CPU.

    Raises:
        WeightsError: the head model cannot be read.
        LicensedFileError: a licensed file is missing or cannot be used.
    """
    if config.rig == "flame":
        from difffae.face.flame_rig import load_flame_rig

        return load_flame_rig(config, size, device=device)
    if head_model is None:
        raise WeightsError("the facemesh rig needs a head model: name its head_model.safetensors")
    tensors = load_tensors(head_model, expected_sha256=sha256)
    model = FaceMeshModel({name: tensor.numpy() for name, tensor in tensors.items()})
    _check_learned(model, head_model)
    rig = FaceMeshRig(model, config, size, dense_motion)
    warm_up(rig.renderer, model, size)
    return rig


def _check_learned(model: FaceMeshModel, path: Path) -> None:
    """Refuse what another version has learned of mouths and teeth."""
    learned = (
        ("mouths", model.mouth_interior, INTERIOR_SHAPE),
        ("teeth", model.teeth_relief, TEETH_SHAPE),
    )
    for what, tensor, shape in learned:
        if tensor is not None and tensor.shape != shape:
            raise WeightsError(
                f"the {what} of {path} have the shape {tensor.shape}, this version needs {shape}; "
                "learn them anew: python -m difffae.train --stage head_model"
            )


def load_dense_motion(config: FaceConfig, size: int, path: Path | None) -> DenseMotion | None:
    """Dense motion as it was trained, to render many conditions with; None for models without.

    Args:
        config: of the model's face rig.
        size: side of its crops [px].
        path: its dense_motion.safetensors.

    Raises:
        WeightsError: the file is not named or cannot be read.
    """
    if config.dense_motion is None:
        return None
    if path is None:
        raise WeightsError("the configuration has dense motion: name its dense_motion.safetensors")
    network = DenseMotionNetwork(config.dense_motion, size)
    load_module(network, path)
    return DenseMotion(network.eval().requires_grad_(False))


def compile_dense_motion(network: nn.Module, placement: Placement) -> TakingTurns:
    """The network of dense motion, compiled for the CPU, where the renderer is.

    Args:
        network: a `DenseMotionNetwork` with its weights.
        placement: how networks run.
    """
    compiled = compile_network(
        network.eval().requires_grad_(False),
        DenseMotionNetwork.example_inputs(),
        runtime=placement.runtime if placement.device == "cpu" else "auto",
        precision="fp32" if placement.precision == "fp32" else "auto",
        num_threads=placement.num_threads,
    )
    return TakingTurns(compiled)


def _load_face_parts(
    folder: Path,
    config: ModelConfig,
    hashes: dict[str, str],
    moving: Future[TakingTurns] | None,
    device: str,
) -> _FaceParts:
    """All but the networks of the generator; `moving` is dense motion's, still being compiled."""
    warm_up_completion()
    warm_up_paste_back()
    tracker, segmenter = MediaPipeTracker(), PersonSegmenter()
    rig = load_rig(
        config.face,
        config.image_size,
        folder / _HEAD_MODEL,
        sha256=hashes.get(_HEAD_MODEL),
        dense_motion=None if moving is None else DenseMotion(moving.result()),
        device=device,
    )
    return _FaceParts(rig=rig, tracker=tracker, segmenter=segmenter)


def find_folder(model: str | Path) -> Path:
    """The folder of a bundled model's name, or of a user's own model.

    Raises:
        WeightsError: there is none.
    """
    bundled = sorted(path.name for path in BUNDLED.glob("*") if path.is_dir())
    folder = BUNDLED / str(model) if str(model) in bundled else Path(model)
    if not folder.is_dir():
        raise WeightsError(
            f"no model {model}: expected a folder with config.yaml and weights, or one of the "
            f"bundled models: {', '.join(bundled)}"
        )
    return folder


def _ledger_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by file name of a bundled model; nothing for a user's own folder."""
    rows = read_ledger(BUNDLED) if folder.parent == BUNDLED else None
    if rows is None:
        return {}
    prefix = folder.name + "/"
    return {
        row.file.removeprefix(prefix): row.sha256 for row in rows if row.file.startswith(prefix)
    }
