"""Stages by name: a name and the configuration in, a stage and its settings out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difffae.training.trainer import Stage
from difffae.training.trainer_config import TrainerConfig


@dataclass(frozen=True, kw_only=True)
class StageRecipe:
    """How one stage is made from the configuration.

    Attributes:
        trainer: Picks the stage's trainer settings out of the configuration.
        build: Makes the stage; it may read what earlier stages left in the run directory.
    """

    trainer: Callable[[Any], TrainerConfig]
    build: Callable[[Any, Path], Stage]


def stage_recipes() -> Mapping[str, StageRecipe]:
    """Every stage that `python -m difffae.train` knows, by name, in the order of training."""
    return {}


def build_stage(name: str, config: Any, run_directory: Path) -> Stage:
    """Build the stage `name` for the configuration.

    Raises:
        ValueError: No stage has this name.
    """
    return find_recipe(name, stage_recipes()).build(config, run_directory)


def find_recipe(name: str, recipes: Mapping[str, StageRecipe]) -> StageRecipe:
    """The recipe called `name`.

    Raises:
        ValueError: No stage has this name.
    """
    if name not in recipes:
        known = ", ".join(recipes) or "no stage is registered"
        raise ValueError(f"got stage {name!r}, expected one of: {known}")
    return recipes[name]
