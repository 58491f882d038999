"""Where rows go beside the run's own file."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from difffae.training.errors import TrainingError
from difffae.training.trackers import TrackedRun, open_tracker
from difffae.training.trainer import fit
from difffae.training.trainer_config import TrainerConfig


def tracked(folder: Path, first_step: int = 0) -> TrackedRun:
    return TrackedRun(folder=folder, first_step=first_step, settings={"seed": 3})


def scalars(folder: Path) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")]


class FakeWandb:
    """Notes what it is told, as the package wandb would be."""

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.num_finished = 0
        self.util = SimpleNamespace(generate_id=lambda: f"run{len(self.opened)}")

    def init(self, **arguments: Any) -> "FakeWandb":
        self.opened.append(arguments)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.rows.append((step, values))

    def finish(self) -> None:
        self.num_finished += 1


def test_rows_reach_tensorboard_and_those_after_the_checkpoint_are_void(tmp_path: Path) -> None:
    first = open_tracker("tensorboard", tracked(tmp_path))
    assert first is not None
    for step, loss in ((10, 0.75), (20, 0.25)):
        first.write(step, {"loss": loss})
    first.close()
    assert scalars(tmp_path) == [(10, 0.75), (20, 0.25)]
    second = open_tracker("tensorboard", tracked(tmp_path, first_step=10))
    assert second is not None
    second.write(15, {"loss": 0.5})
    second.close()
    assert scalars(tmp_path) == [(10, 0.75), (15, 0.5)]


def test_no_tracker_leaves_the_runs_own_file_alone(toy: ModuleType, tmp_path: Path) -> None:
    assert open_tracker("none", tracked(tmp_path)) is None
    fit(toy.ToyStage(), TrainerConfig(num_steps=1, report_to="none"), tmp_path)
    assert (tmp_path / "toy" / "metrics.jsonl").is_file()
    assert not list(tmp_path.rglob("events.out*"))


def test_a_resumed_stage_goes_on_in_its_wandb_run(
    monkeypatch: pytest.MonkeyPatch, toy: ModuleType, tmp_path: Path
) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    monkeypatch.setenv("WANDB_PROJECT", "faces")
    for num_steps in (2, 4):
        config = TrainerConfig(
            batch_size=2, num_steps=num_steps, log_every_steps=1, report_to="wandb"
        )
        fit(toy.ToyStage(), config, tmp_path / "mine", run_config={"model": {"slots": 4}})
    opened = [(run["project"], run["name"], run["id"], run["resume"]) for run in fake.opened]
    assert opened == [("faces", "mine/toy", "run0", "allow")] * 2
    assert fake.opened[0]["config"]["model"] == {"slots": 4}
    assert fake.opened[0]["config"]["trainer"]["batch_size"] == 2
    assert [step for step, _ in fake.rows] == [1, 2, 3, 4]
    lines = (tmp_path / "mine" / "toy" / "metrics.jsonl").read_text("utf-8").splitlines()
    assert [values["loss"] for _, values in fake.rows] == [json.loads(x)["loss"] for x in lines]
    assert fake.num_finished == 2


def test_wandb_runs_offline(
    monkeypatch: pytest.MonkeyPatch, toy: ModuleType, tmp_path: Path
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = TrainerConfig(batch_size=2, num_steps=2, log_every_steps=1, report_to="wandb")
    fit(toy.ToyStage(), config, tmp_path)
    assert list(tmp_path.rglob("*.wandb"))


@pytest.mark.parametrize("package", ["wandb", "tensorboard"])
def test_a_tracker_that_is_not_installed_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, toy: ModuleType, tmp_path: Path, package: str
) -> None:
    for name in ("wandb", "tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    config = TrainerConfig(num_steps=1, report_to=package)  # type: ignore[arg-type]
    with pytest.raises(TrainingError) as error:
        fit(toy.ToyStage(), config, tmp_path)
    assert str(error.value).startswith(f"trainer.report_to is {package}, but ")
    assert f"pip install {package}" in str(error.value)
    assert "\n" not in str(error.value)
