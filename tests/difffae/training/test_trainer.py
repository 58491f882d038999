"""The training loop."""

import json
import logging
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from difffae.checkpoint import WeightsError, load_tensors
from difffae.training.errors import ConfigMismatchError
from difffae.training.run_directory import Checkpoint, RunDirectory
from difffae.training.trainer import NonFiniteLossError, Watch, fit
from difffae.training.trainer_config import TrainerConfig


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def settings(**changes: Any) -> TrainerConfig:
    values: dict[str, Any] = {
        "batch_size": 4,
        "num_steps": 12,
        "learning_rate": 1e-2,
        "warmup_steps": 3,
        "precision": "fp32",
        "log_every_steps": 2,
        "checkpoint_every_s": 1e6,
        "sample_every_s": 1e6,
    }
    return TrainerConfig(**{**values, **changes})


def at_each_step(stage: Any, act: Callable[[int], None]) -> Any:
    """The stage, acting as each step's loss is computed."""
    loss = stage.loss

    def act_first(batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        act(step)
        return loss(batch, step)

    stage.loss = act_first
    return stage


def latest(folder: Path) -> Checkpoint:
    checkpoint = RunDirectory(folder, "toy").load_latest()
    assert checkpoint is not None
    return checkpoint


def assert_same_tensors(one: Checkpoint, other: Checkpoint) -> None:
    assert one.step == other.step
    assert sorted(one.tensors) == sorted(other.tensors)
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name


def rows(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "toy" / "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in rows(folder)]


def test_the_loss_falls(toy: ModuleType, tmp_path: Path) -> None:
    fit(toy.ToyStage(noise=0.0), settings(num_steps=60), tmp_path)
    assert losses(tmp_path)[-1] < 0.5 * losses(tmp_path)[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    toy: ModuleType, tmp_path: Path, precision: str
) -> None:
    config = settings(precision=precision, decay="constant")
    fit(toy.ToyStage(), config, tmp_path / "whole")
    first = settings(precision=precision, decay="constant", num_steps=5)
    fit(toy.ToyStage(), first, tmp_path / "parts")
    fit(toy.ToyStage(), config, tmp_path / "parts")
    assert_same_tensors(latest(tmp_path / "parts"), latest(tmp_path / "whole"))
    assert rows(tmp_path / "parts")[-1]["loss"] == rows(tmp_path / "whole")[-1]["loss"]


def test_the_seed_decides_the_result(toy: ModuleType, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fit(toy.ToyStage(), settings(seed=seed), tmp_path / name)
    assert_same_tensors(latest(tmp_path / "a"), latest(tmp_path / "b"))
    assert losses(tmp_path / "c") != losses(tmp_path / "a")


def test_the_averaged_weights_are_exported_by_network(toy: ModuleType, tmp_path: Path) -> None:
    fit(toy.ToyStage(), settings(), tmp_path)
    exported = load_tensors(tmp_path / "toy" / "mixer.safetensors")
    tensors = latest(tmp_path).tensors
    assert len(exported) == 4
    for name, tensor in exported.items():
        assert torch.equal(tensor, tensors[f"ema.mixer.{name}"])
        assert not torch.equal(tensor, tensors[f"modules.mixer.{name}"])


def test_a_fresh_run_starts_over_and_keeps_the_earlier_one(toy: ModuleType, tmp_path: Path) -> None:
    fit(toy.ToyStage(), settings(num_steps=9), tmp_path)
    fit(toy.ToyStage(), settings(num_steps=4), tmp_path, resume=False)
    assert latest(tmp_path).step == 4
    assert (tmp_path / "toy.old-1" / "checkpoint-000000009.safetensors").is_file()


def test_checkpoints_come_at_the_interval(toy: ModuleType, tmp_path: Path) -> None:
    clock = Clock()
    seen: list[str] = []

    def pass_a_second(_: int) -> None:
        clock.now += 1
        seen.extend(path.stem for path in RunDirectory(tmp_path, "toy").checkpoint_paths()[-1:])

    stage = at_each_step(toy.ToyStage(), pass_a_second)
    fit(stage, settings(checkpoint_every_s=5.0), tmp_path, watch=Watch(clock=clock))
    assert list(dict.fromkeys(seen)) == ["checkpoint-000000005", "checkpoint-000000010"]
    assert latest(tmp_path).step == 12
    assert latest(tmp_path).state["seconds"] == 12


def test_sample_grids_come_at_the_interval_with_averaged_weights(
    toy: ModuleType, tmp_path: Path
) -> None:
    clock = Clock()
    stage = at_each_step(toy.ToyStage(), lambda _: setattr(clock, "now", clock.now + 1))
    shown: list[Tensor] = []

    def look() -> np.ndarray:
        assert not stage.modules.training
        shown.append(stage.modules["mixer"][0].weight.detach().clone())
        return np.zeros((4, 4, 3), np.uint8)

    stage.sample_grid = look
    fit(stage, settings(sample_every_s=5.0), tmp_path, watch=Watch(clock=clock))
    names = sorted(path.name for path in (tmp_path / "toy" / "samples").iterdir())
    assert names == [f"step-{step:09d}.png" for step in (0, 5, 10, 12)]
    assert torch.equal(shown[-1], latest(tmp_path).tensors["ema.mixer.0.weight"])
    own = latest(tmp_path).tensors["modules.mixer.0.weight"]
    assert torch.equal(stage.modules["mixer"][0].weight, own)
    assert cv2.imread(str(tmp_path / "toy" / "samples" / names[0])).shape == (4, 4, 3)


def test_the_time_limit_stops_cleanly(toy: ModuleType, tmp_path: Path) -> None:
    clock = Clock()
    stage = at_each_step(toy.ToyStage(), lambda _: setattr(clock, "now", clock.now + 1))
    fit(stage, settings(max_minutes=0.1), tmp_path, watch=Watch(clock=clock))
    assert latest(tmp_path).step == 6
    fit(stage, settings(), tmp_path, watch=Watch(clock=clock))
    fit(toy.ToyStage(), settings(), tmp_path / "whole", watch=Watch(clock=clock))
    assert_same_tensors(latest(tmp_path), latest(tmp_path / "whole"))


def test_ctrl_c_saves_before_it_stops(toy: ModuleType, tmp_path: Path) -> None:
    def interrupt(step: int) -> None:
        if step == 4:
            signal.raise_signal(signal.SIGINT)

    stage = at_each_step(toy.ToyStage(), interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(stage, settings(), tmp_path)
    assert latest(tmp_path).step == 5
    assert (tmp_path / "toy" / "mixer.safetensors").is_file()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    toy: ModuleType, tmp_path: Path, value: float
) -> None:
    clock = Clock()

    class Failing(toy.ToyStage):  # type: ignore[name-defined, misc]
        def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
            clock.now += 1
            error, metrics = super().loss(batch, step)
            return (error * value if step == 7 else error), metrics

    config = settings(checkpoint_every_s=3.0, log_every_steps=100)
    with pytest.raises(NonFiniteLossError, match=r"step 8 of toy: got loss (nan|inf).*000006"):
        fit(Failing(), config, tmp_path, watch=Watch(clock=clock))
    checkpoint = latest(tmp_path)
    assert checkpoint.step == 6
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint.tensors.values())


def test_a_checkpoint_of_other_networks_is_refused(toy: ModuleType, tmp_path: Path) -> None:
    fit(toy.ToyStage(), settings(num_steps=1), tmp_path)
    other = toy.ToyStage()
    other.modules["mixer"].append(torch.nn.Conv2d(3, 3, 1))
    with pytest.raises(WeightsError, match="--fresh"):
        fit(other, settings(), tmp_path)


def test_settings_of_run_time_may_change_and_are_told(
    toy: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(toy.ToyStage(), settings(num_steps=1), tmp_path)
    with caplog.at_level(logging.INFO):
        fit(toy.ToyStage(), settings(log_every_steps=5, num_steps=2), tmp_path)
    assert "trainer.log_every_steps was 2, goes on with 5" in caplog.text
    assert "resuming toy at step 1" in caplog.text


def test_a_checkpoint_of_another_configuration_is_refused_by_the_names_that_differ(
    toy: ModuleType, tmp_path: Path
) -> None:
    fit(toy.ToyStage(), settings(num_steps=1), tmp_path, run_config={"model": {"num_slots": 4}})
    with pytest.raises(ConfigMismatchError) as error:
        fit(
            toy.ToyStage(),
            settings(learning_rate=0.5, num_steps=2),
            tmp_path,
            run_config={"model": {"num_slots": 2}},
        )
    assert str(error.value) == (
        f"{tmp_path}/toy/checkpoint-000000001.safetensors was made with another configuration: "
        "model.num_slots (was 4, now 2), trainer.learning_rate (was 0.01, now 0.5); set these "
        "back, train into another --run-directory, or start afresh with --fresh"
    )
    assert latest(tmp_path).step == 1


def test_networks_that_can_are_told_to_recompute(
    toy: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(num_steps=1, has_gradient_checkpointing=True)
    fit(toy.ToyStage(), config, tmp_path / "unable")
    assert "no network of stage toy can" in caplog.text
    caplog.clear()
    for is_wanted in (False, True):
        stage = toy.ToyStage()
        stage.modules["mixer"].is_recomputing = False
        config = settings(num_steps=1, has_gradient_checkpointing=is_wanted)
        fit(stage, config, tmp_path / str(is_wanted))
        assert stage.modules["mixer"].is_recomputing is is_wanted
    assert "no network" not in caplog.text


def start_child(
    script: Path, folder: Path, config: dict[str, Any], environment: dict[str, str], noise: float
) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parents[3])
    threads = str(torch.get_num_threads())  # sums depend on it to the bit
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), json.dumps(config), str(noise)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": threads, **environment},
    )


def test_a_kill_at_any_moment_loses_no_more_than_the_interval(
    toy: ModuleType, toy_script: Path, tmp_path: Path
) -> None:
    config = {"batch_size": 4, "num_steps": 120, "precision": "fp32", "checkpoint_every_s": 1e-9}
    moments = random.Random(5)
    for _ in range(3):
        with start_child(toy_script, tmp_path / "killed", config, {}, 0.1) as child:
            assert child.stdout is not None
            told = [int(child.stdout.readline()) for _ in range(moments.randint(5, 30))]
            sum(n * n for n in range(moments.randint(1, 200_000)))
            child.kill()
        checkpoint = latest(tmp_path / "killed")
        assert checkpoint.path == RunDirectory(tmp_path / "killed", "toy").checkpoint_paths()[-1]
        assert checkpoint.step >= told[-1]
    fit(toy.ToyStage(), TrainerConfig(**config), tmp_path / "killed")
    fit(toy.ToyStage(), TrainerConfig(**{**config, "checkpoint_every_s": 1e6}), tmp_path / "whole")
    assert_same_tensors(latest(tmp_path / "killed"), latest(tmp_path / "whole"))
    steps = [row["step"] for row in rows(tmp_path / "killed")]
    assert steps == list(range(1, 121))
