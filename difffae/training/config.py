"""The schema of a configuration's training part: data, losses, and every stage's trainer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser

from difffae.config import ModelConfig
from difffae.training.first_stage_loss import FirstStageLossConfig
from difffae.training.head_model import HeadModelConfig
from difffae.training.trainer_config import TrainerConfig


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the losses.

    Attributes:
        feature_weights: SqueezeNet 1.1 as safetensors, for the feature distance; None: without.
        lpips_weights: the user's LPIPS file, for the first stage's perceptual loss; None: the
            feature distance stands in.
        feature: of the feature distance beside L1 in pixels.
        feature_share: share of each batch that pays it.
        latent: of the denoiser's L1 in latents.
        pixel: of the denoiser's losses through the frozen decoder.
        pixel_share: share of each batch that pays them.
        attention: of attention consistency (ACR, delta of eq. 8).
        face: how much more a pixel of the face counts.
        timestep_sampling: uniform over all timesteps as in the paper, or log-normal noise levels.
        first_step_share: share of the batch at the noisiest timestep, so that one step works.
        log_sigma_mean, log_sigma_spread: of the other noise levels, where they are log-normal.
        latent_norm: of the error in latents: l2 is the paper's (eq. 1).
        drop_share: share of samples whose condition is blanked outside the face, so that the slots
            have something to say (lite.md section 5).
        hidden_share: share of samples one of whose regions, hair, clothes or background, is hidden
            in condition and source, so that its slot alone tells of it, as in a swap. Not the
            paper's; needs `region_labels`.
        mask_supervision: of the cross entropy that pulls slot masks to fixed regions: MediaPipe's
            selfie segmentation and the mesh's own face mask. Not the paper's, whose slots find
            regions by themselves; needs `region_labels`.
        first_stage: of the paper's first stage.
    """

    feature_weights: Path | None = None
    lpips_weights: Path | None = None
    feature: float = 0.3
    feature_share: float = 0.5
    latent: float = 1.0
    pixel: float = 1.0
    pixel_share: float = 0.5
    attention: float = 0.1
    face: float = 1.0
    timestep_sampling: Literal["uniform", "log_normal"] = "log_normal"
    first_step_share: float = 0.5
    log_sigma_mean: float = -0.7
    log_sigma_spread: float = 1.0
    latent_norm: Literal["l1", "l2"] = "l1"
    drop_share: float = 0.1
    hidden_share: float = 0.0
    mask_supervision: float = 0.0
    first_stage: FirstStageLossConfig = field(default_factory=FirstStageLossConfig)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Where the data is and how each stage is trained.

    Attributes:
        frames: folder of frame shards (python -m difffae.data.prepare).
        motions: folder of motion shards (python -m difffae.data.motions), for `dense_motion`.
        pairs: folder of pair shards (python -m difffae.data.pairs).
        region_labels: folder of region labels of the pairs (python -m difffae.data.region_labels).
        head_model: sizes of the head model's bases.
        loss: weights of the losses.
        first_stage_weights: folder with encoder and decoder of a first stage trained elsewhere
            (python -m difffae.convert), which the stage first_stage starts from; None: anew.
        retrain_first_stage: train the first stage on faces (paper section 5.4); False is the
            ablation that uses `first_stage_weights` as they are.
        denoiser_weights: a denoiser to start the joint stage from (python -m difffae.convert).
        decoder_weights: a conditional decoder to start the stage decoder from; None: the
            autoencoder's.
        dense_motion_weights: a dense_motion to start that stage from; None: anew.
        dense_motion, first_stage, autoencoder, decoder, identity, regions, joint, polish: the
            stages' trainers.
    """

    frames: Path = Path("runs/frames")
    motions: Path = Path("runs/motions")
    pairs: Path = Path("runs/pairs")
    region_labels: Path | None = None
    head_model: HeadModelConfig = field(default_factory=HeadModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    first_stage_weights: Path | None = None
    retrain_first_stage: bool = True
    denoiser_weights: Path | None = None
    decoder_weights: Path | None = None
    dense_motion_weights: Path | None = None
    dense_motion: TrainerConfig = field(default_factory=TrainerConfig)
    first_stage: TrainerConfig = field(default_factory=TrainerConfig)
    autoencoder: TrainerConfig = field(default_factory=TrainerConfig)
    decoder: TrainerConfig = field(default_factory=TrainerConfig)
    identity: TrainerConfig = field(default_factory=TrainerConfig)
    regions: TrainerConfig = field(default_factory=TrainerConfig)
    joint: TrainerConfig = field(default_factory=TrainerConfig)
    polish: TrainerConfig = field(default_factory=TrainerConfig)

    def __post_init__(self) -> None:
        """Check that a first stage that is not retrained is there.

        Raises:
            ValueError: it is not.
        """
        if not self.retrain_first_stage and self.first_stage_weights is None:
            raise ValueError(
                "retrain_first_stage is false, but no first_stage_weights are named: give the "
                "folder that `python -m difffae.convert` wrote"
            )


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole configuration file."""

    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


def read_config(path: Path) -> Config:
    """Read a YAML configuration.

    Raises:
        ValueError: the file is missing or says something the schema does not know.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=ModelConfig, default=ModelConfig())
    parser.add_argument("--training", type=TrainingConfig, default=TrainingConfig())
    try:
        given = parser.instantiate(parser.parse_path(str(path)))
    except Exception as error:  # jsonargparse's own, TypeError, OSError and YAML's
        raise ValueError(f"{path} is not a configuration: {error}") from error
    return Config(model=given.model, training=given.training)
