"""Second stage: the decoder learns to use the condition, on true latents with a little noise."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.checkpoint import load_module
from difffae.data.shards import ShardReader
from difffae.model.autoencoder import Decoder, Encoder
from difffae.training.config import Config
from difffae.training.hiding import DRAWS, hide_composites
from difffae.training.lineage import load_frozen
from difffae.training.pictures import PictureLoss, decoder_condition, pair_batch, sheet
from difffae.training.region_labels import open_labels

_CROP_PX = 128
_LATENT_NOISE = 0.15  # in units of the scaled latent
_GRID_SAMPLES = 6


class DecoderStage:
    """Trains `decoder` from the first stage's, with its encoder frozen and calibrated."""

    name = "decoder"

    def __init__(self, config: Config, run_directory: Path) -> None:
        self._reader = ShardReader(config.training.pairs, "pairs")
        autoencoder = config.model.autoencoder
        scaled = run_directory / "latents" / "encoder.safetensors"
        self.encoder = load_frozen(Encoder(autoencoder), scaled)
        self.decoder = Decoder(autoencoder)
        started = config.training.decoder_weights
        if started is None:
            load_module(self.decoder, run_directory / "autoencoder" / "decoder.safetensors")
            _absorb_scale(self.decoder, self.encoder)
        else:
            load_module(self.decoder, started)
        self.modules = nn.ModuleDict({"decoder": self.decoder})
        self.picture_loss = PictureLoss(config.training.loss)
        self._labels = open_labels(config.model, config.training)
        self._hidden_share = config.training.loss.hidden_share
        self._crop = min(_CROP_PX, config.model.image_size)
        self._grid = pair_batch(self._reader, np.arange(_GRID_SAMPLES))

    def num_samples(self) -> int:
        """Pairs of all shards."""
        return len(self._reader)

    def sample_weights(self) -> None:
        """All alike."""

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """Random crops; see `pair_batch`. A share of the composites has a region hidden."""
        if self._labels is None or not self._hidden_share:
            return pair_batch(self._reader, indices, crop=self._crop, random=generator)
        batch = pair_batch(self._reader, indices)
        regions = self._labels.masks("composite", [int(index) for index in indices])
        drawn = torch.from_numpy(generator.standard_normal((len(indices), DRAWS), np.float32))
        batch |= hide_composites(batch, regions, drawn, self._hidden_share)
        top, left = (int(generator.integers(0, side - self._crop + 1)) for side in _sides(batch))
        rows, columns = slice(top, top + self._crop), slice(left, left + self._crop)
        return {name: picture[..., rows, columns] for name, picture in batch.items()}

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction of the target from its own latent and the condition."""
        del step
        target, composite, masks = batch["target"], batch["composite"], batch["masks"]
        with torch.no_grad():
            latent = self.encoder(target).float()
        spread = _LATENT_NOISE * torch.rand(len(latent), 1, 1, 1, device=latent.device)
        noisy = latent + spread * torch.randn_like(latent)
        image, alpha = self.decoder(noisy, decoder_condition(composite, masks))
        loss, parts = self.picture_loss(image, target, masks[:, :1])
        return loss, {**parts, "alpha": alpha.detach().mean()}

    def sample_grid(self) -> NDArray[np.uint8]:
        """Source, target, composite, true latent decoded, composite's latent decoded, alpha."""
        device = next(self.decoder.parameters()).device
        grid = {name: tensor.to(device) for name, tensor in self._grid.items()}
        condition = decoder_condition(grid["composite"], grid["masks"])
        with torch.no_grad():
            ceiling, alpha = self.decoder(self.encoder(grid["target"]), condition)
            floor, _ = self.decoder(self.encoder(grid["composite"]), condition)
        given = (grid[name] for name in ("source", "target", "composite"))
        return sheet(*given, ceiling, floor, 2 * alpha - 1)


def _sides(batch: dict[str, Tensor]) -> tuple[int, int]:
    height, width = batch["target"].shape[-2:]
    return height, width


@torch.no_grad()
def _absorb_scale(decoder: Decoder, encoder: nn.Module) -> None:
    """Let a decoder of raw latents take the calibrated encoder's: raw = scaled * std + mean.

    The mean reaches the border through zero padding as it did before only approximately; training
    goes on from there.
    """
    std, mean = encoder.get_buffer("latent_std"), encoder.get_buffer("latent_mean")
    enter = decoder.enter
    if enter.bias is not None:
        enter.bias += torch.einsum("o i h w, i -> o", enter.weight, mean.flatten())
    enter.weight *= std.flatten()[None, :, None, None]
