"""First stage: encoder and plain decoder learn on single pictures (L1, feature distance, noise)."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.model.autoencoder import Decoder, Encoder
from difffae.training.config import Config
from difffae.training.frames import FramePictures
from difffae.training.pictures import PictureLoss, sheet

_CROP_PX = 128
_LATENT_NOISE = 0.05  # the decoder must bear the denoiser's errors
_LATENT_PENALTY = 1e-4
_GRID_SAMPLES = 6


class AutoencoderStage:
    """Trains `encoder` and `decoder`; the decoder sees no condition yet."""

    name = "autoencoder"

    def __init__(self, config: Config, run_directory: Path) -> None:
        del run_directory
        crop = min(_CROP_PX, config.model.image_size)
        self._frames = FramePictures(config.training.frames, crop)
        autoencoder = config.model.autoencoder
        self.encoder, self.decoder = Encoder(autoencoder), Decoder(autoencoder)
        self.modules = nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder})
        self.picture_loss = PictureLoss(config.training.loss)
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
        """Reconstruction from a noisy latent."""
        del step
        image = batch["image"]
        latent = self.encoder(image).float()
        noisy = latent + _LATENT_NOISE * torch.randn_like(latent) * latent.detach().std()
        loss, parts = self.picture_loss(self.decoder(noisy)[0], image)
        loss = loss + _LATENT_PENALTY * latent.square().mean()
        return loss, {**parts, "latent_std": latent.detach().std()}

    def sample_grid(self) -> NDArray[np.uint8]:
        """Pictures and their reconstructions."""
        grid = self._grid.to(next(self.modules.parameters()).device)
        with torch.no_grad():
            return sheet(grid, self.decoder(self.encoder(grid))[0])
