"""What a run was trained with: a configuration in, a record to keep and to compare with, out."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path, PurePath
from typing import Any

import yaml

from difffae.checkpoint import write_atomically
from difffae.training.errors import ConfigMismatchError
from difffae.training.trainer_config import RUN_TIME_SETTINGS, TrainerConfig

CONFIG_NAME = "config.yaml"
_MOST_NAMED = 6


def describe_run(config: Any) -> dict[str, Any]:
    """A configuration as nested values, without the stages' trainers.

    Paths stay paths: where files lie may change between runs, whether they are given may not.

    Args:
        config: A dataclass, its parts dataclasses in turn.
    """
    description = asdict(config)
    for name, part in ((field.name, getattr(config, field.name)) for field in fields(config)):
        for key in list(description[name]) if isinstance(description[name], dict) else ():
            if isinstance(getattr(part, key), TrainerConfig):
                del description[name][key]
    return description


def describe_trainer(config: TrainerConfig, num_processes: int) -> dict[str, Any]:
    """A trainer's settings that decide what is learned; one number for the samples of a step."""
    settings = {k: v for k, v in asdict(config).items() if k not in RUN_TIME_SETTINGS}
    per_process = settings.pop("batch_size") * settings.pop("accumulation_steps")
    settings["batch_size x accumulation_steps x processes"] = per_process * num_processes
    return settings


def to_json(value: Any) -> Any:
    """Nested values as JSON holds them: tuples become lists, paths text."""
    return json.loads(json.dumps(value, default=str))


def keep_config(config: Any, run_directory: Path, *, is_anew: bool) -> None:
    """Write a configuration with all its overrides to `<run directory>/config.yaml`.

    The stages of one run directory make one model: a configuration of another model is refused
    unless the whole run starts anew. Losses and trainers are each stage's own; its checkpoints say
    what they were.

    Raises:
        ConfigMismatchError: The stages there make another model.
        OSError: It cannot be written.
    """
    path = run_directory / CONFIG_NAME
    if path.is_file() and not is_anew:
        now = describe_run(config)
        now.get("training", {}).pop("loss", None)
        require_same(_read(path), now, where=run_directory, anew="--stage all --fresh")
    run_directory.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(to_json(asdict(config)), sort_keys=False, allow_unicode=True)
    write_atomically(path, text.encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(path.read_text("utf-8")) or {})
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ConfigMismatchError(
            f"{path} does not read ({' '.join(str(error).split())}), so what the run was trained "
            "with is unknown; restore it or train into another --run-directory"
        ) from error


def require_same(
    earlier: Mapping[str, Any], now: Mapping[str, Any], *, where: Path, anew: str = "--fresh"
) -> None:
    """Refuse to go on with another configuration than before.

    Settings that one of the two does not know are passed over: the code may have grown one.

    Args:
        earlier: As JSON holds it.
        now: As `describe_run` gives it.
        where: What was made with the earlier one.
        anew: Arguments that start afresh.

    Raises:
        ConfigMismatchError: They differ; the message names the settings.
    """
    differences = [
        f"{name} (was {json.dumps(was)}, now {json.dumps(to_json(is_now))})"
        for name, was, is_now in _differences(earlier, now, "")
    ]
    if not differences:
        return
    named = ", ".join(differences[:_MOST_NAMED])
    if len(differences) > _MOST_NAMED:
        named += f" and {len(differences) - _MOST_NAMED} more"
    raise ConfigMismatchError(
        f"{where} was made with another configuration: {named}; set these back, train into "
        f"another --run-directory, or start afresh with {anew}"
    )


def _differences(earlier: Any, now: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(earlier, Mapping) and isinstance(now, Mapping):
        for key in now:
            if key in earlier:
                yield from _differences(earlier[key], now[key], f"{name}.{key}".removeprefix("."))
    elif isinstance(now, PurePath):
        if earlier is None:
            yield name, earlier, now
    elif earlier != to_json(now):
        yield name, earlier, now
