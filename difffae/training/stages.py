"""Stages by name: a name and the configuration in, a stage and its settings out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difffae.training.trainer import Stage
from difffae.training.trainer_config import TrainerConfig


@dataclass(frozen=True, kw_only=True)
class GradientRecipe:
    """How a stage trained by gradient descent is made from the configuration.

    Attributes:
        trainer: Picks the stage's trainer settings out of the configuration.
        build: Makes the stage; it may read what earlier stages left in the run directory.
    """

    trainer: Callable[[Any], TrainerConfig]
    build: Callable[[Any, Path], Stage]


@dataclass(frozen=True, kw_only=True)
class DirectRecipe:
    """How a stage with a closed solution is learned.

    Attributes:
        learn: Learns from the configuration and writes into the run directory.
    """

    learn: Callable[[Any, Path], None]


Recipe = GradientRecipe | DirectRecipe


def read_config(path: Path) -> Any:
    """Read a YAML configuration.

    Raises:
        ValueError: The file does not hold a configuration.
    """
    raise ValueError(f"got {path}, but no configuration schema is registered; register one here")


def stage_recipes() -> Mapping[str, Recipe]:
    """Every stage that `python -m difffae.train` knows, by name, in the order of training."""
    return {}
