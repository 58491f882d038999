"""What a stage is to the training loop."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Metric = float | Tensor


@runtime_checkable
class Stage(Protocol):
    """What one stage trains, on what, and toward what.

    `loss` may draw from torch's global generators (seeded by the trainer in each step) and `batch`
    from the generator it is given, nothing else; then a resumed run repeats the interrupted one.
    Every `nn.Module` attribute of the stage moves to the training device with `modules`, frozen
    networks therefore too.
    """

    @property
    def name(self) -> str:
        """The stage's name, also its folder's."""

    @property
    def modules(self) -> nn.ModuleDict:
        """The networks trained, checkpointed, averaged and exported by name."""

    def num_samples(self) -> int:
        """How many samples `batch` can be asked for."""

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """The samples as CPU tensors; called in loader threads, several at once."""

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, Mapping[str, Metric]]:
        """The mean loss over the batch, and metrics to log; detached tensors never stall a GPU."""

    def sample_weights(self) -> NDArray[np.float64] | None:
        """Each sample's share of the draws; None gives each the same, once per pass."""

    def sample_grid(self) -> NDArray[np.uint8] | None:
        """A picture (H, W, 3) RGB to judge by; called with averaged weights in eval mode."""


@runtime_checkable
class DrawingStage(Protocol):
    """A stage whose random numbers come with its batches, sample by sample.

    Such numbers depend on the seed, the step and the sample's place in the step's whole batch
    alone. A loss that draws nothing itself is then the same, whichever number of processes and
    micro-steps the batch is shared out to.
    """

    def draws(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes for one sample of standard normal numbers, by their name in the batch."""
