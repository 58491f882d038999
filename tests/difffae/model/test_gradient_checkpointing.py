"""Gradient checkpointing of the denoiser: the same results from less memory."""

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from difffae.config import ModelConfig
from difffae.model.denoiser import Denoiser


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of all storages that operations made and that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def train_once(denoiser: Denoiser, *, batch: int = 4) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Prediction, attention and gradients of a loss on both."""
    config = denoiser.config
    draw = torch.Generator().manual_seed(0)
    size = (config.latent_size, config.latent_size)
    prediction, attention = denoiser(
        torch.randn(batch, config.latent_channels, *size, generator=draw),
        torch.linspace(999, 20, batch),
        torch.randn(batch, config.condition_channels, *size, generator=draw),
        torch.randn(batch, 4, config.slot_width, generator=draw),
        torch.randn(batch, config.identity_width, generator=draw),
    )
    (prediction.square().mean() + attention[:, 0].square().mean()).backward()
    gradients = {name: w.grad for name, w in denoiser.named_parameters() if w.grad is not None}
    return prediction.detach(), attention.detach(), gradients


@pytest.fixture
def denoiser(read_model: Callable[[str], ModelConfig]) -> Denoiser:
    """The tiny denoiser, its zero weights filled."""
    torch.manual_seed(1)
    network = Denoiser(read_model("tiny").denoiser)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.1)
    return network


@pytest.mark.parametrize("is_bf16", [False, True])
def test_predictions_attention_and_gradients_are_the_same_to_the_bit(
    denoiser: Denoiser, is_bf16: bool
) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
        kept = train_once(denoiser)
        denoiser.zero_grad(set_to_none=True)
        denoiser.is_recomputing = True
        again = train_once(denoiser)
    assert torch.equal(again[0], kept[0])
    assert torch.equal(again[1], kept[1])
    assert sorted(again[2]) == sorted(kept[2])
    assert len(kept[2]) == len(list(denoiser.parameters()))
    for name, gradient in kept[2].items():
        assert torch.equal(again[2][name], gradient), name


def test_blocks_run_again_in_the_backward_pass_only_while_gradients_are_wanted(
    denoiser: Denoiser,
) -> None:
    calls: list[nn.Module] = []
    denoiser.down[0].register_forward_pre_hook(lambda module, _: calls.append(module))
    train_once(denoiser)
    assert len(calls) == 1
    denoiser.is_recomputing = True
    train_once(denoiser)
    assert len(calls) == 3
    with torch.no_grad():
        size = (2, 4, 32, 32)
        denoiser(
            torch.zeros(size),
            torch.zeros(2),
            torch.zeros(2, 11, 32, 32),
            torch.zeros(2, 4, 16),
            torch.zeros(2, 16),
        )
    assert len(calls) == 4


def test_the_peak_of_memory_falls_below_half(denoiser: Denoiser) -> None:
    peaks = []
    for is_recomputing in (False, True):
        denoiser.is_recomputing = is_recomputing
        denoiser.zero_grad(set_to_none=True)
        with PeakMemory() as memory:
            train_once(denoiser)
        peaks.append(memory.peak)
    assert peaks[1] < 0.5 * peaks[0], peaks
