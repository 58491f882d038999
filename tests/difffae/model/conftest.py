"""Small networks and the full-size ones without memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from difffae.config import ModelConfig, read_model_config

ReadModel = Callable[[str], ModelConfig]


@pytest.fixture(scope="session")
def read_model(repository: Path) -> ReadModel:
    """Reads the model of a bundled configuration by its name."""
    return lambda name: read_model_config(repository / "configs" / f"{name}.yaml")


@pytest.fixture(scope="session")
def tiny(read_model: ReadModel) -> ModelConfig:
    """The model of `configs/tiny.yaml`."""
    return read_model("tiny")


@pytest.fixture
def filled() -> Callable[[nn.Module], nn.Module]:
    """Gives a network weights that depend on their names alone, the zero-initialised ones too."""
    return fill


def fill(network: nn.Module) -> nn.Module:
    """RandomState's stream is frozen by numpy's promise, torch's initialisation is not."""
    for number, (name, weight) in enumerate(sorted(network.named_parameters())):
        drawn = np.random.RandomState(number).standard_normal(weight.shape)
        is_gain = weight.ndim == 1 and name.endswith("weight")
        scaled = 1 + 0.1 * drawn if is_gain else drawn * max(weight[0].numel(), 4) ** -0.5
        with torch.no_grad():
            weight.copy_(torch.from_numpy(scaled))
    return network.eval()
