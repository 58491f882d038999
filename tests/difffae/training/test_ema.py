"""Averaged weights."""

import pytest
import torch
from torch import nn

from difffae.training.ema import AveragedWeights, ramped_decay


def linear(weight: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, weight)
    return layer


def test_decay_ramps_up_to_its_final_value() -> None:
    assert ramped_decay(0.999, 0) == pytest.approx(1 / 10)
    assert ramped_decay(0.999, 90) == pytest.approx(91 / 100)
    assert ramped_decay(0.999, 10**6) == 0.999


def test_updates_follow_the_moving_average_formula() -> None:
    module = linear(1.0)
    averaged = AveragedWeights(module, 0.5)
    expected = 1.0
    for num_updates, weight in enumerate((3.0, -2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 4.0)):
        nn.init.constant_(module.weight, weight)
        averaged.update(module, num_updates)
        decay = min(0.5, (1 + num_updates) / (10 + num_updates))
        expected = decay * expected + (1 - decay) * weight
    assert averaged.average.weight.item() == pytest.approx(expected, rel=1e-6)


def test_buffers_are_copied_not_averaged() -> None:
    module = nn.BatchNorm1d(2)
    averaged = AveragedWeights(module, 0.9)
    module(torch.tensor([[1.0, 5.0], [3.0, 9.0]]))
    averaged.update(module, 0)
    assert torch.equal(averaged.average.running_mean, module.running_mean)
    assert averaged.average.num_batches_tracked.item() == 1


def test_a_module_borrows_the_average_and_gets_its_own_weights_and_modes_back() -> None:
    module = nn.Sequential(linear(1.0), nn.Dropout())
    module[1].eval()
    averaged = AveragedWeights(module, 0.5)
    nn.init.constant_(module[0].weight, 8.0)
    inside = []

    def fail_with_borrowed_weights() -> None:
        with averaged.swapped_into(module):
            inside.append((module[0].weight.item(), module.training))
            raise KeyError

    with pytest.raises(KeyError):
        fail_with_borrowed_weights()
    assert inside == [(1.0, False)]
    assert module[0].weight.item() == 8.0
    assert module.training
    assert not module[1].training
    assert averaged.average[0].weight.item() == 1.0
