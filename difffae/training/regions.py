"""Slot pretraining (RSC, paper section 4.3): the region encoder learns to take pictures apart."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.arrays import Images
from difffae.data.shards import ShardReader
from difffae.model.region_encoder import BroadcastDecoder, RegionEncoder
from difffae.training.config import Config
from difffae.training.pictures import sheet, to_images

_GRID_SAMPLES = 6


def region_input(image: Images, size: int) -> Float[Tensor, "b 3 side side"]:
    """A picture at the size that the region encoder sees."""
    if image.shape[-1] == size:
        return image
    return F.interpolate(image, size=(size, size), mode="area")


class RegionsStage:
    """Trains `region_encoder` with a broadcast decoder that is dropped afterwards."""

    name = "regions"

    def __init__(self, config: Config, run_directory: Path) -> None:
        del run_directory
        self._reader = ShardReader(config.training.pairs, "pairs")
        self._size = config.model.region_size
        self.region_encoder = RegionEncoder(config.model.region_encoder)
        self.broadcast_decoder = BroadcastDecoder(config.model.region_encoder.slot_width)
        self.modules = nn.ModuleDict(
            {"region_encoder": self.region_encoder, "broadcast_decoder": self.broadcast_decoder}
        )
        self._grid = self.batch(np.arange(_GRID_SAMPLES), np.random.default_rng(0))["image"]

    def num_samples(self) -> int:
        """Pairs of all shards."""
        return len(self._reader)

    def sample_weights(self) -> None:
        """All alike."""

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """The targets, which are real photographs."""
        del generator
        images = to_images([self._reader.picture("target", int(index)) for index in indices])
        return {"image": region_input(images, self._size)}

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the slots' merged pictures (eq. 6)."""
        del step
        slots, masks = self.region_encoder(batch["image"])
        merged, _ = self.broadcast_decoder(slots)
        wanted = F.interpolate(batch["image"], size=merged.shape[-2:], mode="area")
        largest = masks.detach().mean((0, 2, 3)).max()
        return F.mse_loss(merged.float(), wanted), {"largest_slot": largest}

    def sample_grid(self) -> NDArray[np.uint8]:
        """Pictures, what the slots paint, and each slot's mask."""
        grid = self._grid.to(next(self.modules.parameters()).device)
        with torch.no_grad():
            slots, masks = self.region_encoder(grid)
            merged, _ = self.broadcast_decoder(slots)
        columns = (grid, merged, 2 * masks - 1)
        shown = [F.interpolate(column.float(), size=(128, 128)) for column in columns]
        return sheet(shown[0], shown[1], *(shown[2][:, k : k + 1] for k in range(masks.shape[1])))
