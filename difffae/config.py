"""The schema of configs/*.yaml: what a model is made of. How it is trained is `training.config`."""

from dataclasses import dataclass, field
from pathlib import Path

from jsonargparse import ArgumentParser

from difffae.diffusion.parameterization import ParameterizationConfig
from difffae.diffusion.schedule import ScheduleConfig
from difffae.face.config import FaceConfig
from difffae.model.autoencoder import AutoencoderConfig
from difffae.model.denoiser import DenoiserConfig
from difffae.model.first_stage import FirstStageConfig
from difffae.model.identity_encoder import IdentityEncoderConfig
from difffae.model.region_encoder import RegionEncoderConfig

NUM_MASKS = 3  # face, inside of eyes and mouth, person


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A whole model.

    Attributes:
        image_size: side of the pictures the networks see [px].
        region_size: side of the picture that the region encoder sees [px].
        sees_source: concatenate the source's latent and the condition's masks to the denoiser's
            input (lite.md section 2); False is the paper, where the render's latent is all.
        trust: how much of what a conditional decoder paints is shown; the rest is the condition's.
            Less than 1 where the networks change more of unseen people than they know.
        mouth_trust: the same inside a mouth that the portrait does not show.
        first_stage: the paper's first stage (VQ or KL); None: the bundled kind, `autoencoder`.
        face, autoencoder, region_encoder, denoiser, identity, schedule, parameterization: of the
            parts.
    """

    image_size: int = 256
    region_size: int = 256
    sees_source: bool = False
    trust: float = 1.0
    mouth_trust: float = 1.0
    face: FaceConfig = field(default_factory=FaceConfig)
    first_stage: FirstStageConfig | None = None
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    region_encoder: RegionEncoderConfig = field(default_factory=RegionEncoderConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    identity: IdentityEncoderConfig = field(default_factory=IdentityEncoderConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    parameterization: ParameterizationConfig = field(default_factory=ParameterizationConfig)

    def __post_init__(self) -> None:
        """Check that the parts fit one another.

        Raises:
            ValueError: a size of one part is not what another needs.
        """
        if not 0 < self.trust <= 1:
            raise ValueError(f"trust is {self.trust}; expected more than 0, at most 1")
        if not 0 <= self.mouth_trust <= 1:
            raise ValueError(f"mouth_trust is {self.mouth_trust}; expected 0 to 1")
        kind = self.autoencoder if self.first_stage is None else self.first_stage
        latent = kind.latent_channels
        condition = 2 * latent + NUM_MASKS if self.sees_source else latent
        _require("denoiser.latent_channels", self.denoiser.latent_channels, latent)
        _require("denoiser.condition_channels", self.denoiser.condition_channels, condition)
        _require("denoiser.latent_size", self.denoiser.latent_size, self.image_size // kind.factor)
        if self.autoencoder.condition_channels not in (0, 3 + NUM_MASKS):
            raise ValueError(
                f"autoencoder.condition_channels is {self.autoencoder.condition_channels}; "
                f"expected {3 + NUM_MASKS} (composite and masks), or 0 for the paper's decoder"
            )
        _require("denoiser.slot_width", self.denoiser.slot_width, self.region_encoder.slot_width)
        if self.denoiser.identity_width not in (0, self.identity.width):
            raise ValueError(
                f"denoiser.identity_width is {self.denoiser.identity_width}; expected "
                f"identity.width {self.identity.width}, or 0 for no identity token"
            )

    @property
    def has_identity(self) -> bool:
        """Whether the identity token enters the denoiser; False is the paper's ablation."""
        return self.denoiser.identity_width > 0

    @property
    def is_decoder_conditional(self) -> bool:
        """Whether the decoder is shown the condition; the paper's is not."""
        return self.first_stage is None and self.autoencoder.condition_channels > 0


def read_model_config(path: Path) -> ModelConfig:
    """Read the `model` part of a YAML configuration.

    Raises:
        ValueError: the file is missing or says something the schema does not know.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=ModelConfig, default=ModelConfig())
    parser.add_argument("--training", type=dict, default={})
    try:
        given = parser.parse_path(str(path))
        model = parser.instantiate(given).model
    except (
        Exception
    ) as error:  # jsonargparse raises ArgumentError, TypeError, OSError and YAML's own
        raise ValueError(f"{path} is not a model configuration: {error}") from error
    if not isinstance(model, ModelConfig):
        raise ValueError(f"{path} is not a model configuration: its part model gave {type(model)}")
    return model


def _require(name: str, got: int, expected: int) -> None:
    if got != expected:
        raise ValueError(f"{name} is {got}; the other parts need {expected}")
