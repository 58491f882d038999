"""First stage: encoder and plain decoder learn on single pictures (L1, feature distance, noise)."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.data.shards import ShardReader
from difffae.model.autoencoder import Decoder, Encoder
from difffae.training.config import Config
from difffae.training.pictures import PictureLoss, random_crop, sheet, to_images

_CROP_PX = 128
_LATENT_NOISE = 0.05  # the decoder must bear the denoiser's errors
_LATENT_PENALTY = 1e-4
_STILL_SHARE = 0.5
_GRID_SAMPLES = 6


class AutoencoderStage:
    """Trains `encoder` and `decoder`; the decoder sees no condition yet."""

    name = "autoencoder"

    def __init__(self, config: Config, run_directory: Path) -> None:
        del run_directory
        self._reader = ShardReader(config.training.frames, "frames")
        autoencoder = config.model.autoencoder
        self.encoder, self.decoder = Encoder(autoencoder), Decoder(autoencoder)
        self.modules = nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder})
        self.picture_loss = PictureLoss(config.training.loss)
        self._crop = min(_CROP_PX, config.model.image_size)
        shown = np.linspace(0, len(self._reader) - 1, _GRID_SAMPLES).astype(np.int64)
        self._grid = to_images(self._pictures(shown))

    def num_samples(self) -> int:
        """Frames of all shards."""
        return len(self._reader)

    def sample_weights(self) -> NDArray[np.float64]:
        """Stills weigh as much as clips together; within clips, people weigh alike."""
        people = np.array(self._reader.labels("person"))
        _, inverse, counts = np.unique(people, return_inverse=True, return_counts=True)
        sizes = counts[inverse]
        weights = 1.0 / sizes
        is_still = sizes == 1
        if is_still.any() and not is_still.all():
            weights[is_still] *= _STILL_SHARE / weights[is_still].sum()
            weights[~is_still] *= (1 - _STILL_SHARE) / weights[~is_still].sum()
        return np.asarray(weights)

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """Random crops, half of them mirrored."""
        pictures = self._pictures(indices)
        crops = [random_crop([picture], self._crop, generator)[0] for picture in pictures]
        mirrored = [picture[:, ::-1] if generator.random() < 0.5 else picture for picture in crops]
        return {"image": to_images(mirrored)}

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

    def _pictures(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return [self._reader.picture("image", int(index)) for index in indices]
