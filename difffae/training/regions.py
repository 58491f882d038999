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
from difffae.model.region_encoder import BroadcastDecoder, RegionEncoder, merge_pictures
from difffae.training.config import Config
from difffae.training.pictures import sheet, to_images
from difffae.training.region_labels import mask_error, open_labels
from difffae.training.slot_loss import Parted, SlotLoss, slot_metrics

_GRID_SAMPLES = 6
_GRID_PX = 128


def region_input(image: Images, size: int) -> Float[Tensor, "b 3 side side"]:
    """A picture at the size that the region encoder sees."""
    if image.shape[-1] == size:
        return image
    return F.interpolate(image, size=(size, size), mode="area")


class RegionsStage:
    """Trains `region_encoder` with a broadcast decoder that is dropped after training."""

    name = "regions"

    def __init__(self, config: Config, run_directory: Path) -> None:
        del run_directory
        self._reader = ShardReader(config.training.pairs, "pairs")
        self._size = config.model.region_size
        self._labels = open_labels(config.model, config.training)
        self._supervision = config.training.loss.mask_supervision
        regions = config.model.region_encoder
        self._merge = regions.learning.merge
        self.region_encoder = RegionEncoder(regions)
        self.broadcast_decoder = BroadcastDecoder(regions.slot_width, regions.learning)
        self.slot_loss = SlotLoss(regions.learning)
        self.modules = nn.ModuleDict(
            {"region_encoder": self.region_encoder, "broadcast_decoder": self.broadcast_decoder}
        )
        self._grid = self.batch(np.arange(_GRID_SAMPLES), np.random.default_rng(0))["target"]

    def num_samples(self) -> int:
        """Pairs of all shards."""
        return len(self._reader)

    def sample_weights(self) -> None:
        """All alike."""

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """Both pictures of each pair, and their regions where slots are supervised."""
        del generator
        rows, names = [int(index) for index in indices], ("source", "target")
        batch = {
            name: region_input(
                to_images([self._reader.picture(name, row) for row in rows]), self._size
            )
            for name in names
        }
        if self._labels is not None:
            batch |= {f"{name}_regions": self._labels.masks(name, rows) for name in names}
        return batch

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the slots' merged pictures (paper 4.3) and what regularises."""
        images = torch.cat([batch["source"], batch["target"]])
        slots, masks = self.region_encoder(images)
        parted = Parted(images=images, slots=slots, masks=masks)
        loss, parts = self.slot_loss(self.broadcast_decoder, parted, step)
        if self._supervision:
            wanted = torch.cat([batch["source_regions"], batch["target_regions"]])
            supervision = mask_error(masks, wanted)
            loss = loss + self._supervision * supervision
            parts["supervision"] = supervision.detach()
        source, driver = masks.chunk(2)
        return loss, {**parts, **slot_metrics(source, driver)}

    def sample_grid(self) -> NDArray[np.uint8]:
        """Pictures, what the slots paint, and each slot's mask."""
        grid = self._grid.to(next(self.modules.parameters()).device)
        with torch.no_grad():
            slots, masks = self.region_encoder(grid)
            pictures, painted_masks = self.broadcast_decoder(slots)
            merging = masks if self._merge == "attention" else painted_masks
            merged = merge_pictures(pictures, merging.float())
        columns = (grid, merged, 2 * masks - 1)
        shown = [F.interpolate(column.float(), size=(_GRID_PX, _GRID_PX)) for column in columns]
        return sheet(shown[0], shown[1], *(shown[2][:, k : k + 1] for k in range(masks.shape[1])))
