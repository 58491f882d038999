"""What a run was trained with."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from difffae.training.config import Config
from difffae.training.errors import ConfigMismatchError
from difffae.training.record import (
    describe_run,
    describe_trainer,
    keep_config,
    require_same,
    to_json,
)
from difffae.training.trainer_config import TrainerConfig


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part with what parts have."""

    widths: tuple[int, ...] = (1, 2)
    file: Path | None = None
    trainer: TrainerConfig = TrainerConfig()


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A configuration."""

    part: Part = Part()
    rate: float = 0.5


def compare(earlier: Any, now: Any) -> str:
    """What is said of going on; nothing when it is allowed."""
    try:
        require_same(to_json(earlier), now, where=Path("here"))
    except ConfigMismatchError as error:
        return str(error)
    return ""


def test_a_description_is_everything_but_the_trainers() -> None:
    assert describe_run(Whole()) == {"part": {"widths": (1, 2), "file": None}, "rate": 0.5}
    described = describe_run(Config())
    assert described["model"]["denoiser"]["channels"] == Config().model.denoiser.channels
    assert "loss" in described["training"]
    assert "joint" not in described["training"]


def test_the_same_configuration_goes_on() -> None:
    assert compare(describe_run(Whole()), describe_run(Whole())) == ""
    assert compare(describe_run(Config()), describe_run(Config())) == ""


def test_differing_settings_are_named_with_both_values() -> None:
    now = describe_run(Whole(part=Part(widths=(1, 3)), rate=0.25))
    assert compare(describe_run(Whole()), now) == (
        "here was made with another configuration: part.widths (was [1, 2], now [1, 3]), rate "
        "(was 0.5, now 0.25); set these back, train into another --run-directory, or start afresh "
        "with --fresh"
    )


def test_a_part_that_comes_or_goes_differs() -> None:
    assert "first_stage (was null, now {" in compare(
        {"first_stage": None}, {"first_stage": {"a": 1}}
    )
    assert 'first_stage (was {"a": 1}, now null)' in compare(
        {"first_stage": {"a": 1}}, {"first_stage": None}
    )


def test_settings_that_one_of_two_versions_does_not_know_are_passed_over() -> None:
    assert compare({"old": 1, "kept": 2}, {"new": 3, "kept": 2}) == ""


def test_files_may_move_but_not_appear() -> None:
    none, here, there = (Whole(part=Part(file=file)) for file in (None, Path("a"), Path("b")))
    assert compare(describe_run(here), describe_run(there)) == ""
    assert "part.file" in compare(describe_run(none), describe_run(here))
    assert "part.file" in compare(describe_run(here), describe_run(none))


def test_many_differences_are_counted() -> None:
    said = compare({f"s{n}": 0 for n in range(9)}, {f"s{n}": 1 for n in range(9)})
    assert "s5 (was 0, now 1) and 3 more;" in said
    assert "s6" not in said


def test_processes_and_micro_steps_may_share_out_the_same_samples_anew() -> None:
    one = TrainerConfig(batch_size=16)
    four = replace(one, batch_size=2, accumulation_steps=2)
    assert describe_trainer(one, 1) == describe_trainer(four, 4)
    assert describe_trainer(one, 1) != describe_trainer(one, 4)


def test_how_a_run_is_kept_and_watched_is_no_part_of_what_it_learns() -> None:
    one = TrainerConfig()
    other = replace(
        one,
        max_minutes=5.0,
        log_every_steps=7,
        report_to="wandb",
        sharding="full_shard",
        has_gradient_checkpointing=True,
        num_steps=7,
    )
    assert describe_trainer(one, 1) == describe_trainer(other, 1)
    for change in ({"learning_rate": 1.0}, {"precision": "fp32"}, {"seed": 5}, {"ema_decay": 0.5}):
        assert describe_trainer(one, 1) != describe_trainer(replace(one, **change), 1)


def test_a_kept_configuration_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_config(Whole(), tmp_path, is_anew=False)
    before = (tmp_path / "config.yaml").read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        keep_config(Whole(part=Part(trainer=TrainerConfig(seed=2))), tmp_path, is_anew=False)
    assert (tmp_path / "config.yaml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
