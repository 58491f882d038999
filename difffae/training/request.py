"""What is asked for on the command line: arguments in, a configuration and its overrides out."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from difffae.training.errors import TrainingError
from difffae.training.stages import GradientRecipe, Recipe
from difffae.training.trainer_config import TrainerConfig

ALL_STAGES = "all"


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """What the command can train.

    Attributes:
        schema: Dataclass of a configuration; its part `training` holds each stage's trainer under
            the stage's name.
        recipes: How each stage is trained, in the order of training.
    """

    schema: type[Any]
    recipes: Mapping[str, Recipe]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call of the command.

    Attributes:
        config: The configuration with all overrides, those of `--trainer` too.
        stages: What to train, in order.
        is_whole: Whether these are all stages of the configuration.
    """

    config: Any
    stages: Mapping[str, Recipe]
    run_directory: Path
    is_resuming: bool
    is_whole: bool


def read_request(arguments: Sequence[str], catalog: Catalog) -> Request:
    """Read the command line over the configuration it names.

    Raises:
        TrainingError: The configuration or a stage does not exist, or a setting is wrong.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    named, rest = early.parse_known_args(arguments)
    if named.config is None or {"-h", "--help"} & set(arguments):
        _build_parser(catalog).parse_args(arguments)
    ordered = [f"--config={named.config}", *rest]  # what is given on the line wins
    given = _parse(ordered, catalog)
    if given.resume and given.fresh:
        raise TrainingError("got --resume and --fresh, expected one of them; --resume is default")
    config = catalog.schema(**{part.name: given[part.name] for part in fields(catalog.schema)})
    stages = _find_stages(given.stage, config, catalog)
    for name, recipe in stages.items():
        if isinstance(recipe, GradientRecipe):
            trainer = _override(recipe.trainer(config), ordered)
            config = replace(config, training=replace(config.training, **{name: trainer}))
    return Request(
        config=config,
        stages=stages,
        run_directory=given.run_directory or Path("runs") / named.config.stem,
        is_resuming=not given.fresh,
        is_whole=given.stage == ALL_STAGES,
    )


def _find_stages(name: str, config: Any, catalog: Catalog) -> dict[str, Recipe]:
    needed = {key: each for key, each in catalog.recipes.items() if each.is_needed(config)}
    if name == ALL_STAGES:
        return needed
    if name not in needed:
        known = ", ".join([*needed, ALL_STAGES])
        raise TrainingError(f"got --stage {name}, expected one that the configuration has: {known}")
    return {name: needed[name]}


def _override(trainer: TrainerConfig, arguments: Sequence[str]) -> TrainerConfig:
    """A stage's trainer with what `--trainer` says over it."""
    own: list[str] = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument.startswith("--trainer"):
            own += [argument] if "=" in argument else [argument, following]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--trainer", type=TrainerConfig, default=trainer)
    overridden: TrainerConfig = parser.instantiate(parser.parse_args(own)).trainer
    return overridden


def _parse(arguments: Sequence[str], catalog: Catalog) -> Any:
    parser = _build_parser(catalog)
    try:
        return parser.instantiate(parser.parse_args(arguments))
    except (argparse.ArgumentError, ValueError, TypeError, OSError) as error:
        raise TrainingError(" ".join(str(error).split())) from error


def _build_parser(catalog: Catalog) -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m difffae.train",
        description="Train a stage. Any value of the configuration can be overridden.",
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", required=True, help="YAML configuration")
    known = ", ".join(catalog.recipes)
    parser.add_argument(
        "--stage",
        type=str,
        required=True,
        help=f"one of: {known}; or {ALL_STAGES}: each in turn, but for the finished ones",
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
    parser.add_argument(
        "--trainer",
        type=TrainerConfig,
        default=TrainerConfig(),
        help="over the stage's own",
    )
    for part in fields(catalog.schema):
        default = part.default if part.default_factory is MISSING else part.default_factory()
        parser.add_argument(f"--{part.name}", type=part.type, default=default)
    return parser
