"""Labels of regions as masks, and the loss that teaches slots what to mean."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from difffae.arrays import SlotMasks
from difffae.config import ModelConfig
from difffae.data.shards import ShardReader
from difffae.face.portrait_regions import REGION_NAMES
from difffae.training.config import TrainingConfig


class RegionLabels:
    """The labelled regions of pairs, as `python -m difffae.data.region_labels` left them."""

    def __init__(self, folder: Path, size: int) -> None:
        """Open the shards; masks will be of this side [px].

        Raises:
            ValueError: the folder holds no labels.
        """
        self._reader = ShardReader(folder, "regions")
        self._size = size

    def __len__(self) -> int:
        return len(self._reader)

    def masks(self, name: str, rows: list[int]) -> SlotMasks:
        """The regions' shares of each pixel of the rows' pictures of a name."""
        labels = torch.from_numpy(np.stack([self._reader.row(name, row) for row in rows]))
        planes = F.one_hot(labels.long(), len(REGION_NAMES)).permute(0, 3, 1, 2).float()
        return F.interpolate(planes, size=(self._size, self._size), mode="area")


def open_labels(model: ModelConfig, training: TrainingConfig) -> RegionLabels | None:
    """The labels where the configuration uses them; None where it does not.

    Raises:
        ValueError: it uses labels and names none, or has other slots than there are regions.
    """
    losses = training.loss
    if not losses.mask_supervision and not losses.hidden_share:
        return None
    regions = model.region_encoder
    if regions.num_tokens != len(REGION_NAMES):
        raise ValueError(
            f"mask_supervision and hidden_share: got {regions.num_tokens} slots, expected one for "
            f"each of {', '.join(REGION_NAMES)}: set model.region_encoder.num_slots"
        )
    if training.region_labels is None:
        raise ValueError(
            "loss.mask_supervision and loss.hidden_share need training.region_labels: make them "
            "with python -m difffae.data.region_labels"
        )
    return RegionLabels(training.region_labels, model.region_size // regions.patch)


def mask_error(masks: SlotMasks, wanted: SlotMasks) -> Tensor:
    """Cross entropy [nat] of slot masks against the regions' shares of each pixel."""
    return -(wanted * masks.float().clamp_min(1e-6).log()).sum(1).mean()
