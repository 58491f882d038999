"""Stages by name: a name and the configuration in, a stage ready to train out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from difffae.training.trainer import Stage

BuildStage = Callable[[Any, Path], Stage]


def build_stage(name: str, config: Any, run_directory: Path) -> Stage:
    """Build the stage `name`; it may read what earlier stages left in `run_directory`.

    Raises:
        ValueError: No stage has this name.
    """
    builders: Mapping[str, BuildStage] = {}
    if name not in builders:
        known = ", ".join(builders) or "none yet"
        raise ValueError(f"got stage {name!r}, expected one of: {known}")
    return builders[name](config, run_directory)
