"""Stages by name: a name and the configuration in, a stage and its settings out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from difffae.data.pairs import PairMaker, PairsConfig
from difffae.data.shards import ShardReader
from difffae.face.facemesh import FaceMeshModel
from difffae.face.facemesh_rig import FaceMeshRig
from difffae.training.autoencoder import AutoencoderStage
from difffae.training.config import Config, read_config
from difffae.training.decoder import DecoderStage
from difffae.training.dense_motion import DenseMotionStage
from difffae.training.first_stage import FirstStageStage
from difffae.training.head_model import learn_head_model, read_tracks, save_head_model
from difffae.training.identity import IdentityStage
from difffae.training.joint import JointStage
from difffae.training.latents import calibrate_encoder, encode_pairs
from difffae.training.lids import learn_lids
from difffae.training.mouths import learn_mouth
from difffae.training.polish import PolishStage
from difffae.training.regions import RegionsStage
from difffae.training.skin_motion import learn_skin_motion
from difffae.training.teeth import learn_teeth
from difffae.training.trainer import Stage
from difffae.training.trainer_config import TrainerConfig


def _always(config: Any) -> bool:
    del config
    return True


@dataclass(frozen=True, kw_only=True)
class GradientRecipe:
    """How a stage trained by gradient descent is made from the configuration.

    Attributes:
        trainer: Picks the stage's trainer settings out of the configuration.
        build: Makes the stage; it may read what earlier stages left in the run directory.
        is_needed: Whether a configuration has this stage at all.
    """

    trainer: Callable[[Any], TrainerConfig]
    build: Callable[[Any, Path], Stage]
    is_needed: Callable[[Any], bool] = _always


@dataclass(frozen=True, kw_only=True)
class DirectRecipe:
    """How a stage with a closed solution is learned.

    Attributes:
        learn: Learns from the configuration and writes into the run directory.
        is_needed: Whether a configuration has this stage at all.
    """

    learn: Callable[[Any, Path], None]
    is_needed: Callable[[Any], bool] = _always


__all__ = ["DirectRecipe", "GradientRecipe", "Recipe", "read_config", "stage_recipes"]

Recipe = GradientRecipe | DirectRecipe


def stage_recipes() -> Mapping[str, Recipe]:
    """Every stage that `python -m difffae.train` knows, by name, in the order of training."""
    return {
        "head_model": DirectRecipe(learn=_learn_head_model, is_needed=_learns_head_model),
        "dense_motion": GradientRecipe(
            trainer=lambda c: c.training.dense_motion,
            build=DenseMotionStage,
            is_needed=lambda c: c.model.face.dense_motion is not None,
        ),
        "first_stage": GradientRecipe(
            trainer=lambda c: c.training.first_stage,
            build=FirstStageStage,
            is_needed=_retrains_first_stage,
        ),
        "autoencoder": GradientRecipe(
            trainer=lambda c: c.training.autoencoder, build=AutoencoderStage, is_needed=_is_bundled
        ),
        "calibrate": DirectRecipe(learn=calibrate_encoder),
        "decoder": GradientRecipe(
            trainer=lambda c: c.training.decoder, build=DecoderStage, is_needed=_is_bundled
        ),
        "identity": GradientRecipe(
            trainer=lambda c: c.training.identity,
            build=IdentityStage,
            is_needed=lambda c: c.model.has_identity and c.model.identity.kind == "small",
        ),
        "regions": GradientRecipe(trainer=lambda c: c.training.regions, build=RegionsStage),
        "latents": DirectRecipe(learn=encode_pairs),
        "joint": GradientRecipe(trainer=lambda c: c.training.joint, build=JointStage),
        "polish": GradientRecipe(
            trainer=lambda c: c.training.polish, build=PolishStage, is_needed=_is_bundled
        ),
    }


def _learns_head_model(config: Config) -> bool:
    return config.model.face.rig == "facemesh"


def _retrains_first_stage(config: Config) -> bool:
    return config.model.first_stage is not None and config.training.retrain_first_stage


def _is_bundled(config: Config) -> bool:
    """Whether the autoencoder is the bundled kind, whose decoder sees the condition."""
    return config.model.first_stage is None


def _learn_head_model(config: Config, run_directory: Path) -> None:
    from difffae.face.mediapipe import triangles

    reader = ShardReader(config.training.frames, "frames")
    tensors = learn_head_model(read_tracks(reader), triangles(), config.training.head_model)
    head_model = FaceMeshModel(tensors)
    tensors["mouth_interior"] = learn_mouth(reader, head_model)
    shades = learn_lids(reader, head_model)
    if shades is not None:
        tensors["lid_shades"] = shades
    relief = learn_teeth(reader, head_model)
    if relief is not None:
        tensors["teeth_relief"] = relief.astype(np.float16)
    rig = FaceMeshRig(head_model, config.model.face, config.model.image_size)
    maker = PairMaker(reader, rig, PairsConfig())
    found = learn_skin_motion(maker, rig, config.training.head_model.num_pairs)
    tensors["skin_motion"] = found.astype(np.float16)
    save_head_model(run_directory / "head_model" / "head_model.safetensors", tensors)
