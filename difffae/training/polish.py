"""Last stage: decoder and denoiser learn together, by the pictures that both of them make.

Trained on true latents alone, the decoder trusts what the denoiser blurs, above all in eyes and
mouth. Trained on sampled ones alone it stops listening within 40 steps (alpha falls to 0.02 and
stays). On both it must tell from the latent itself how far to trust it; and the denoiser learns
what the decoder makes good use of.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.checkpoint import load_module
from difffae.training.config import Config
from difffae.training.joint import JointStage
from difffae.training.lineage import load_frozen
from difffae.training.pictures import decoder_condition, importance

_CROP_PX = 128
_TRUE_NOISE = 0.1  # of true latents, in units of the scaled latent


class PolishStage:
    """Trains `decoder` and `denoiser`; the region encoder is frozen."""

    name = "polish"

    def __init__(self, config: Config, run_directory: Path) -> None:
        self._joint = JointStage(config, run_directory)
        folder = run_directory / "joint"
        self.region_encoder = self._joint.region_encoder
        load_frozen(self.region_encoder, folder / "region_encoder.safetensors")
        load_module(self._joint.denoiser, folder / "denoiser.safetensors")
        self.identity_encoder, self.encoder = self._joint.identity_encoder, self._joint.encoder
        self.decoder = self._joint.decoder
        load_module(self.decoder, run_directory / "decoder" / "decoder.safetensors")
        self.decoder.requires_grad_(True)
        self.modules = nn.ModuleDict({"decoder": self.decoder, "denoiser": self._joint.denoiser})
        self.picture_loss = self._joint.picture_loss
        self._factor = config.model.autoencoder.factor
        self._crop = min(_CROP_PX, config.model.image_size)

    def draws(self) -> dict[str, tuple[int, ...]]:
        """See `JointStage.draws`."""
        return self._joint.draws()

    def num_samples(self) -> int:
        """Pairs whose latents are there."""
        return self._joint.num_samples()

    def sample_weights(self) -> None:
        """All alike."""

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """See `JointStage.batch`."""
        return self._joint.batch(indices, generator)

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The joint stage's loss, through the decoder that learns, and true latents decoded."""
        loss, parts = self._joint.loss(batch, step)
        true, alpha = self._true_loss(batch)
        return loss + true, {**parts, "true": true.detach(), "alpha_true": alpha}

    def _true_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Pictures decoded from true latents with a little noise, on one random square of them."""
        latent, target, composite, masks, features = self._cropped(batch)
        masks = (masks + 1) / 2
        noisy = latent + _TRUE_NOISE * torch.randn_like(latent)
        image, alpha = self.decoder(noisy, decoder_condition(composite, masks))
        loss, _ = self.picture_loss(image, target, importance(masks, features))
        return loss, alpha.detach().mean()

    def sample_grid(self) -> NDArray[np.uint8]:
        """See `JointStage.sample_grid`."""
        return self._joint.sample_grid()

    def _cropped(self, batch: dict[str, Tensor]) -> list[Tensor]:
        """The same random square of the true latents, in their pixels, and of the pictures."""
        names = ("target", "composite", "masks", "features")
        pictures = [batch[f"{name}_image"] for name in names]
        latent = batch["target_latent"][: len(pictures[0])]
        small, factor = self._crop // self._factor, self._factor
        top, left = (int(torch.randint(0, latent.shape[-1] - small + 1, ())) for _ in range(2))
        rows, columns = (
            slice(first * factor, first * factor + self._crop) for first in (top, left)
        )
        part = latent[..., top : top + small, left : left + small]
        return [part, *(picture[..., rows, columns] for picture in pictures)]
