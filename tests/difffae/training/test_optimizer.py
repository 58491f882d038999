"""AdamW whose state is named tensors."""

import copy
import math

import pytest
import torch
from torch import nn

from difffae.training.optimizer import (
    build_optimizer,
    learning_rate_at,
    optimizer_tensors,
    restore_optimizer,
)
from difffae.training.trainer_config import TrainerConfig

CONFIG = TrainerConfig(num_steps=110, warmup_steps=10, learning_rate=1e-2, weight_decay=0.1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 3))
    return layers.to(memory_format=torch.channels_last)


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        picture = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        module(picture.contiguous(memory_format=torch.channels_last)).square().mean().backward()
        optimizer.step()


def test_learning_rate_warms_up_then_falls_along_a_cosine() -> None:
    assert learning_rate_at(0, CONFIG) == pytest.approx(1e-3)
    assert learning_rate_at(9, CONFIG) == pytest.approx(1e-2)
    assert learning_rate_at(10, CONFIG) == pytest.approx(1e-2)
    assert learning_rate_at(35, CONFIG) == pytest.approx(0.5e-2 * (1 + math.sqrt(0.5)))
    assert learning_rate_at(60, CONFIG) == pytest.approx(0.5e-2)
    assert learning_rate_at(110, CONFIG) == pytest.approx(0, abs=1e-12)


def test_constant_learning_rate_stays_at_its_peak() -> None:
    config = TrainerConfig(warmup_steps=0, learning_rate=3e-4, decay="constant")
    assert [learning_rate_at(step, config) for step in (0, 99_999)] == [3e-4, 3e-4]


def test_steps_equal_those_of_the_plain_optimizer() -> None:
    module = network()
    other = copy.deepcopy(module)
    decayed = [w for w in other.parameters() if w.ndim >= 2]
    plain = [w for w in other.parameters() if w.ndim < 2]
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(
        groups, lr=1e-2, betas=CONFIG.betas, weight_decay=0.1, foreach=False, fused=False
    )
    train(module, build_optimizer(module, CONFIG), range(5))
    train(other, reference, range(5))
    for got, expected in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_restored_state_goes_on_bit_for_bit() -> None:
    module = network()
    optimizer = build_optimizer(module, CONFIG)
    train(module, optimizer, range(3))
    tensors = optimizer_tensors(optimizer, module)
    tensors = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    other = copy.deepcopy(module)
    restored = build_optimizer(other, CONFIG)
    restore_optimizer(restored, other, tensors)
    train(module, optimizer, range(3, 6))
    train(other, restored, range(3, 6))
    for got, expected in zip(other.parameters(), module.parameters(), strict=True):
        assert torch.equal(got, expected)


def test_frozen_weights_are_left_out() -> None:
    module = network()
    module[2].requires_grad_(False)
    before = module[2].weight.clone()
    optimizer = build_optimizer(module, CONFIG)
    train(module, optimizer, range(2))
    assert torch.equal(module[2].weight, before)
    assert not any(name.endswith("2.weight") for name in optimizer_tensors(optimizer, module))


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="without trainable parameters"):
        build_optimizer(network().requires_grad_(False), CONFIG)
