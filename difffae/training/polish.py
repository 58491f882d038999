"""Last stage: the decoder meets the latents that the denoiser really samples in one step.

Trained on true latents alone, the decoder trusts what the denoiser blurs, above all in eyes and
mouth. Trained on sampled ones alone it stops listening within 40 steps (alpha falls to 0.02 and
stays). On both, by halves, it must tell from the latent itself how far to trust it.
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
from difffae.training.pictures import decoder_condition, sheet

_CROP_PX = 128
_TRUE_SHARE = 0.5
_TRUE_NOISE = 0.1  # of true latents, in units of the scaled latent
_INSIDE_WEIGHT = 3.0  # eyes and mouth count so much more than the rest of the face
_GRID_SAMPLES = 6


class PolishStage:
    """Trains `decoder` on one-step samples of the frozen denoiser."""

    name = "polish"

    def __init__(self, config: Config, run_directory: Path) -> None:
        self._joint = JointStage(config, run_directory, pixel_share=1.0)
        for name in ("denoiser", "region_encoder"):
            load_frozen(self._joint.modules[name], run_directory / "joint" / f"{name}.safetensors")
        self.sampler = self._joint.modules
        self.identity_encoder, self.encoder = self._joint.identity_encoder, self._joint.encoder
        self.decoder = self._joint.decoder
        load_module(self.decoder, run_directory / "decoder" / "decoder.safetensors")
        self.decoder.requires_grad_(True)
        self.modules = nn.ModuleDict({"decoder": self.decoder})
        self.picture_loss = self._joint.picture_loss
        self._factor = config.model.autoencoder.factor
        self._crop = min(_CROP_PX, config.model.image_size)
        self._grid = self._joint.batch(np.arange(_GRID_SAMPLES), np.random.default_rng(0))

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
        """Pictures decoded from sampled latents, on one random crop of the batch."""
        del step
        batch = self._joint.hidden(batch)
        true = batch["target_latent"]
        is_true = torch.rand(len(true), 1, 1, 1, device=true.device) < _TRUE_SHARE
        is_true[0] = True
        noisy = true + _TRUE_NOISE * torch.randn_like(true)
        mixed = torch.where(is_true, noisy, self._joint.sample_once(batch))
        latent, target, composite, masks = self._cropped(mixed, batch)
        image, alpha = self.decoder(latent, decoder_condition(composite, masks))
        weight = masks[:, :1] + _INSIDE_WEIGHT * masks[:, 1:2]
        loss, parts = self.picture_loss(image, target, weight)
        shares = alpha.detach().mean((1, 2, 3))
        trusted = is_true.flatten().float()
        sampled = (shares * (1 - trusted)).sum() / (1 - trusted).sum().clamp_min(1)
        alphas = {"alpha_true": (shares * trusted).sum() / trusted.sum(), "alpha_sampled": sampled}
        return loss, {**parts, **alphas}

    def sample_grid(self) -> NDArray[np.uint8]:
        """Target, composite, what the model makes of it, alpha."""
        device = next(self.decoder.parameters()).device
        grid = {name: tensor.to(device) for name, tensor in self._grid.items()}
        condition = decoder_condition(grid["composite_image"], (grid["masks_image"] + 1) / 2)
        with torch.no_grad():
            image, alpha = self.decoder(self._joint.sample_once(grid), condition)
        return sheet(grid["target_image"], grid["composite_image"], image, 2 * alpha - 1)

    def _cropped(self, latent: Tensor, batch: dict[str, Tensor]) -> list[Tensor]:
        """The same random square of the latent, in its pixels, and of the pictures, in theirs."""
        small, factor = self._crop // self._factor, self._factor
        top, left = (int(torch.randint(0, latent.shape[-1] - small + 1, ())) for _ in range(2))
        rows, columns = (
            slice(top * factor, top * factor + self._crop),
            slice(left * factor, left * factor + self._crop),
        )
        pictures = [batch[f"{name}_image"] for name in ("target", "composite", "masks")]
        target, composite, masks = (picture[..., rows, columns] for picture in pictures)
        part = latent[..., top : top + small, left : left + small]
        return [part, target, composite, (masks + 1) / 2]
