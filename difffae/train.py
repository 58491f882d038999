"""Train one stage: `python -m difffae.train --config configs/lite-256.yaml --stage STAGE`.

Takes a configuration and the name of a stage, leaves checkpoints, weights, losses and sample
pictures in `<run directory>/<stage>/`. Under torchrun the processes train data-parallel.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.logging import RichHandler

from difffae.checkpoint import WeightsError
from difffae.training import stages
from difffae.training.progress import OpenDisplay, open_log_lines
from difffae.training.stages import DirectRecipe, GradientRecipe, Recipe
from difffae.training.terminal import open_bar
from difffae.training.trainer import NonFiniteLossError, fit
from difffae.training.trainer_config import TrainerConfig

_EXIT_MISUSE = 2
_EXIT_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """What the command can train, and how it reads a configuration."""

    read_config: Callable[[Path], Any]
    recipes: Mapping[str, Recipe]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One training run, as asked for on the command line."""

    config: Any
    recipe: Recipe
    run_directory: Path
    is_resuming: bool
    trainer: TrainerConfig


def main(arguments: Sequence[str], console: Console, catalog: Catalog) -> int:
    """Run the command; its exit status is 0, 2 for a mistaken request, 130 after Ctrl-C."""
    _start_logging(console)
    try:
        _train(_read_request(arguments, catalog), console)
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except _RefusedError as refusal:
        console.print(f"difffae.train: {refusal}", markup=False, highlight=False, soft_wrap=True)
        return _EXIT_MISUSE
    return 0


class _RefusedError(ValueError):
    """A request that cannot be carried out, for a reason that needs no traceback."""


def _train(request: Request, console: Console) -> None:
    torch.manual_seed(request.trainer.seed)
    recipe = request.recipe
    try:
        if isinstance(recipe, DirectRecipe):
            recipe.learn(request.config, request.run_directory)
            return
        stage = recipe.build(request.config, request.run_directory)
    except ValueError as error:  # missing shards, an earlier stage not trained
        raise _RefusedError(str(error)) from error
    try:
        fit(
            stage,
            request.trainer,
            request.run_directory,
            resume=request.is_resuming,
            open_display=_display_for(console),
        )
    except (NonFiniteLossError, WeightsError) as error:
        raise _RefusedError(str(error)) from error


def _display_for(console: Console) -> OpenDisplay:
    return partial(open_bar, console=console) if console.is_terminal else open_log_lines


def _start_logging(console: Console) -> None:
    if console.is_terminal:
        handler: logging.Handler = RichHandler(console=console, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(console.file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("difffae")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)


def _read_request(arguments: Sequence[str], catalog: Catalog) -> Request:
    """Read the command line, the stage's settings in the configuration being its defaults.

    Raises:
        _RefusedError: The configuration or the stage does not exist, or a setting is wrong.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    early.add_argument("--stage")
    named, _ = early.parse_known_args(arguments)
    if named.config is None or named.stage is None or {"-h", "--help"} & set(arguments):
        _build_parser(TrainerConfig(), catalog).parse_args(arguments)
    try:
        config = catalog.read_config(named.config)
    except (ValueError, OSError) as error:
        raise _RefusedError(f"--config {named.config}: {error}") from error
    recipe = _find_recipe(named.stage, catalog)
    defaults = recipe.trainer(config) if isinstance(recipe, GradientRecipe) else TrainerConfig()
    given = _parse(arguments, _build_parser(defaults, catalog))
    if given.resume and given.fresh:
        raise _RefusedError(
            "got --resume and --fresh, expected one of them; --resume is the default"
        )
    return Request(
        config=config,
        recipe=recipe,
        run_directory=given.run_directory or Path("runs") / named.config.stem,
        is_resuming=not given.fresh,
        trainer=given.trainer,
    )


def _parse(arguments: Sequence[str], parser: ArgumentParser) -> Namespace:
    parsed = parser.parse_args(arguments)
    try:
        given: Namespace = parser.instantiate(parsed)
    except ValueError as error:
        raise _RefusedError(str(error)) from error
    return given


def _find_recipe(name: str, catalog: Catalog) -> Recipe:
    recipe = catalog.recipes.get(name)
    if recipe is None:
        known = ", ".join(catalog.recipes) or "nothing, for no stage is registered"
        raise _RefusedError(f"got --stage {name}, expected one of: {known}")
    return recipe


def _build_parser(defaults: TrainerConfig, catalog: Catalog) -> ArgumentParser:
    parser = ArgumentParser(prog="python -m difffae.train", description="Train one stage.")
    parser.add_argument("--config", type=Path, required=True, help="YAML configuration to train")
    parser.add_argument(
        "--stage", type=str, required=True, help=f"one of: {', '.join(catalog.recipes)}"
    )
    parser.add_argument(
        "--run-directory", type=Path | None, default=None, help="where all goes: runs/<config name>"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint (the default)"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start anew; an earlier run is renamed, not deleted"
    )
    parser.add_argument("--trainer", type=TrainerConfig, default=defaults)
    return parser


if __name__ == "__main__":
    sys.exit(
        main(
            sys.argv[1:],
            Console(stderr=True),
            Catalog(read_config=stages.read_config, recipes=stages.stage_recipes()),
        )
    )
