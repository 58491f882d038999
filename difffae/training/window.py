"""The steps since the last logged row: losses and gradient norms in, their means out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from difffae.training.stage import Metric


@dataclass(frozen=True, kw_only=True)
class BadStep:
    """The first step of a window whose loss or gradient is no finite number.

    Attributes:
        place: Of the step in the window, from 0.
        loss, norm: What was got.
    """

    place: int
    loss: float
    norm: float


class LossWindow:
    """Losses on the device until they are asked for, so that no step waits for them."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._pairs: list[Tensor] = []
        self._metrics: list[Mapping[str, Metric]] = []

    def __len__(self) -> int:
        """Steps in the window."""
        return len(self._pairs)

    def add(self, loss: Tensor, norm: Tensor, metrics: list[Mapping[str, Metric]]) -> None:
        """Take in a step: its mean loss, its gradient norm, its micro-steps' metrics."""
        self._pairs.append(torch.stack((loss, norm)))
        self._metrics.extend(metrics)

    def drain(self, reduce: Callable[[Tensor], Tensor]) -> tuple[dict[str, float], BadStep | None]:
        """Means over the window, which is empty afterwards, and the first bad step if any.

        Args:
            reduce: The mean over all processes, on the CPU. The stage's own metrics are this
                process's.
        """
        pairs, metrics = reduce(torch.stack(self._pairs)), self._metrics
        self._pairs, self._metrics = [], []
        is_bad = ~torch.isfinite(pairs).all(dim=1)
        bad = None
        if bool(is_bad.any()):
            place = int(is_bad.nonzero()[0, 0])
            bad = BadStep(place=place, loss=float(pairs[place, 0]), norm=float(pairs[place, 1]))
        loss, norm = pairs.mean(dim=0).tolist()
        return {"loss": loss, "grad_norm": norm, **_means(metrics)}, bad


def _means(rows: list[Mapping[str, Metric]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([float(r[name]) for r in rows if name in r])) for name in names}
