"""The paper's first stage, retrained on faces (section 5.4): VQ or KL autoencoder and its judge.

L1, a perceptual distance and PatchGAN's hinge loss with VQGAN's adaptive weight, which starts late
(model.md 1.10). The perceptual distance is LPIPS with the user's weights
(`training.loss.lpips_weights`); without them the project's own stand-in, SqueezeNet's feature
distance (`training.loss.feature_weights`), weighted by `training.loss.feature`.
"""

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.checkpoint import load_module
from difffae.metrics.lpips import load_lpips
from difffae.metrics.perceptual import load_feature_distance
from difffae.model.discriminator import Discriminator
from difffae.model.first_stage import FirstStageDecoder, FirstStageEncoder, Posterior
from difffae.training.config import Config, LossConfig
from difffae.training.first_stage_loss import (
    adaptive_weight,
    codebook_use,
    discriminator_loss,
    divergence_loss,
    generator_loss,
    perceptual_loss,
    quantization_loss,
)
from difffae.training.frames import FramePictures
from difffae.training.pictures import sheet

_GRID_SAMPLES = 6
_LEAST_ERROR = 1e-6  # 66 dB
_LOGGER = logging.getLogger(__name__)


class FirstStageStage:
    """Trains `encoder`, `decoder` and `discriminator` together by one optimizer.

    The generator's term sees a discriminator that learns nothing from it, and the discriminator's
    term pictures that pass nothing back, so that one backward pass trains both. LDM takes two
    steps instead, the discriminator's after the generator's; batch for batch the same terms.

    Raises:
        ValueError: the configuration has no such stage, or weights do not fit it.
    """

    name = "first_stage"

    def __init__(self, config: Config, run_directory: Path) -> None:
        del run_directory
        training, sizes = config.training, config.model.first_stage
        if sizes is None or not training.retrain_first_stage:
            got = "model.first_stage null" if sizes is None else "retrain_first_stage false"
            raise ValueError(
                f"got {got}, expected a first stage to train; go on with the stage "
                f"{'autoencoder' if sizes is None else 'calibrate'}"
            )
        if training.first_stage.sharding != "none":
            raise ValueError(
                f"got training.first_stage.sharding {training.first_stage.sharding}, expected none:"
                " the adaptive weight needs the last layer whole; 84 M parameters fit any GPU"
            )
        self._config = training.loss.first_stage
        self._frames = FramePictures(training.frames, self._config.crop)
        self.encoder, self.decoder = FirstStageEncoder(sizes), FirstStageDecoder(sizes)
        if training.first_stage_weights is not None:
            for half, network in (("encoder", self.encoder), ("decoder", self.decoder)):
                load_module(network, training.first_stage_weights / f"{half}.safetensors")
        self.discriminator = Discriminator(self._config.discriminator)
        self.modules = nn.ModuleDict(
            {
                "encoder": self.encoder,
                "decoder": self.decoder,
                "discriminator": self.discriminator,
            }
        )
        self.perceptual, self._perceptual_weight = _build_perceptual(training.loss)
        if self._config.adversarial_start >= training.first_stage.num_steps:
            _LOGGER.warning(
                "the discriminator starts at step %d, after the last of %d: it never judges",
                self._config.adversarial_start,
                training.first_stage.num_steps,
            )
        self._grid = self._frames.spread(_GRID_SAMPLES)

    def num_samples(self) -> int:
        """Frames of all shards."""
        return len(self._frames)

    def sample_weights(self) -> NDArray[np.float64]:
        """Stills weigh as much as clips together; within clips, people weigh alike."""
        return self._frames.weights()

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """Random crops, half of them mirrored."""
        return {"image": self._frames.batch(indices, generator)}

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction, latent and, from `adversarial_start` on, both adversarial terms."""
        image = batch["image"]
        reconstruction, latent_loss, parts = self._reconstruct(image)
        l1 = (reconstruction - image).abs().mean()
        perceptual = perceptual_loss(self.perceptual, reconstruction, image)
        likelihood = l1 + self._perceptual_weight * perceptual
        parts |= {"l1": l1.detach(), "perceptual": perceptual.detach()}
        parts["psnr"] = _psnr(reconstruction.detach(), image)
        loss = likelihood + latent_loss
        if step >= self._config.adversarial_start:
            generator = generator_loss(self.discriminator, reconstruction)
            weight = adaptive_weight(likelihood, generator, self.decoder.leave.weight)
            judging, scores = discriminator_loss(self.discriminator, image, reconstruction)
            loss = loss + self._config.adversarial * weight * generator + judging
            parts |= {**scores, "adaptive_weight": weight, "discriminator": judging.detach()}
        return loss, parts

    def sample_grid(self) -> NDArray[np.uint8]:
        """Pictures and their reconstructions."""
        grid = self._grid.to(next(self.modules.parameters()).device)
        with torch.no_grad():
            return sheet(grid, self.decoder(self.encoder(grid))[0])

    def _reconstruct(self, image: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The reconstruction, the latent's own loss, and what to log of it."""
        posterior: Posterior = self.encoder.posterior(image)
        raw = posterior.sample()
        codebook = self.decoder.codebook
        if codebook is None:
            loss = divergence_loss(posterior, image, self._config)
            parts = {"divergence": posterior.divergence().detach().mean()}
        else:
            quantized = codebook(raw)
            loss = quantization_loss(quantized, raw, self._config)
            if self._config.restart_after:
                codebook.restart_idle(raw, quantized, self._config.restart_after)
            parts = dict(codebook_use(quantized.indices, len(codebook.weight)))
            raw = quantized.latent
        spread = posterior.mean.detach().float().std()
        return self.decoder.decode(raw).float(), loss, {**parts, "latent_std": spread}


def _build_perceptual(loss: LossConfig) -> tuple[nn.Module | None, float]:
    """The perceptual distance and its weight.

    Raises:
        WeightsError: its weights cannot be used.
    """
    if loss.lpips_weights is not None:
        return load_lpips(loss.lpips_weights), loss.first_stage.perceptual
    if loss.feature_weights is not None:
        _LOGGER.warning("no training.loss.lpips_weights: the feature distance stands in for LPIPS")
        return load_feature_distance(loss.feature_weights), loss.feature
    _LOGGER.warning("neither lpips_weights nor feature_weights: no perceptual loss, L1 alone")
    return None, 0.0


def _psnr(images: Tensor, targets: Tensor) -> Tensor:
    """Mean PSNR of pictures in [-1, 1] [dB]."""
    errors = (images.clamp(-1, 1) - targets).square().mean((1, 2, 3)).clamp_min(_LEAST_ERROR)
    return (10 * torch.log10(4 / errors)).mean()
