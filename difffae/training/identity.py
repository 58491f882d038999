"""Identity encoder: learn that both pictures of a pair are one person, all others not (NT-Xent)."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.data.shards import ShardReader
from difffae.face.identity import align_face
from difffae.model.identity_encoder import SmallIdentityEncoder
from difffae.training.config import Config
from difffae.training.pictures import sheet, to_images

_TEMPERATURE = 0.1
_GAIN_SPREAD = 0.15  # of each view's channels, so that light does not name the person
_MOST_ERASED = 0.35  # of the side: one rectangle of each view is blanked
_GRID_SAMPLES = 6


class IdentityStage:
    """Trains `identity_encoder` without any licensed teacher."""

    name = "identity"

    def __init__(self, config: Config, run_directory: Path) -> None:
        del run_directory
        self._reader = ShardReader(config.training.pairs, "pairs")
        self.identity_encoder = SmallIdentityEncoder(config.model.identity)
        self.modules = nn.ModuleDict({"identity_encoder": self.identity_encoder})
        self._grid = [self._views(index) for index in range(_GRID_SAMPLES)]

    def num_samples(self) -> int:
        """Pairs of all shards."""
        return len(self._reader)

    def sample_weights(self) -> None:
        """All alike."""

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """Two aligned views of each person, each with its own colour and one part blanked."""
        pairs = [
            [_disturbed(view, generator) for view in self._views(int(index))] for index in indices
        ]
        names = ("first", "second")
        return {name: to_images([pair[k] for pair in pairs]) for k, name in enumerate(names)}

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Normalised-temperature cross-entropy, both ways (Chen et al. 2020, eq. 1)."""
        del step
        views = torch.cat([batch["first"], batch["second"]])
        first, second = F.normalize(self.identity_encoder(views), dim=-1).chunk(2)
        logits = first @ second.T / _TEMPERATURE
        wanted = torch.arange(len(first), device=logits.device)
        loss = (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2
        hits = (logits.argmax(-1) == wanted).float().mean()
        return loss, {"accuracy": hits, "same": (first * second).sum(-1).mean().detach()}

    def sample_grid(self) -> NDArray[np.uint8]:
        """The aligned views."""
        return sheet(*(to_images([pair[k] for pair in self._grid]) for k in range(2)))

    def _views(self, index: int) -> list[NDArray[np.uint8]]:
        return [
            align_face(self._reader.picture(name, index), self._reader.row(f"{name}_five", index))
            for name in ("source", "target")
        ]


def _disturbed(view: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    gain = random.normal(1, _GAIN_SPREAD, 3).clip(0.6, 1.4)
    changed: NDArray[np.uint8] = (view * gain).clip(0, 255).astype(np.uint8)
    size = (random.uniform(0.1, _MOST_ERASED, 2) * len(view)).astype(int)
    top, left = (random.integers(0, len(view) - side) for side in size)
    changed[top : top + size[0], left : left + size[1]] = 127
    return changed[:, ::-1] if random.random() < 0.5 else changed
