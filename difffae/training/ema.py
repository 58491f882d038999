"""Averaged weights: networks in training in, an exponential moving average of them out."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from difffae.training.parallel import own_part


def ramped_decay(decay: float, num_updates: int) -> float:
    """Decay of update number `num_updates` (from 0): min(decay, (1 + n) / (10 + n)).

    The ramp lets the average follow the first, fast steps, so that it is usable at once.
    """
    return min(decay, (1 + num_updates) / (10 + num_updates))


class AveragedWeights:
    """Exponential moving average of a module's parameters, with its buffers copied.

    Where both are sharded alike, each process averages its own parts.

    Attributes:
        average: A copy of the module, in eval mode and without gradients, holding the average.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start the average at the module's present weights."""
        self.average = copy.deepcopy(module).requires_grad_(False).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, num_updates: int) -> None:
        """Move the average toward `module`; `num_updates` counts the updates before this one."""
        weight = 1 - ramped_decay(self._decay, num_updates)
        averages = [own_part(parameter.data) for parameter in self.average.parameters()]
        currents = [own_part(parameter.data) for parameter in module.parameters()]
        torch._foreach_lerp_(averages, currents, weight)
        for kept, current in zip(self.average.buffers(), module.buffers(), strict=True):
            kept.copy_(current)

    @contextmanager
    def swapped_into(self, module: nn.Module) -> Iterator[None]:
        """Lend the average to `module`, in eval mode; its own weights and modes come back after."""
        own = [tensor.detach().clone() for tensor in _tensors(module)]
        modes = [(part, part.training) for part in module.modules()]
        _copy(_tensors(self.average), _tensors(module))
        module.eval()
        try:
            yield
        finally:
            _copy(own, _tensors(module))
            for part, is_training in modes:
                part.training = is_training


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


@torch.no_grad()
def _copy(origins: list[Tensor], targets: list[Tensor]) -> None:
    for origin, target in zip(origins, targets, strict=True):
        target.copy_(origin)
