"""The command that trains one stage."""

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from difffae.checkpoint import load_metadata
from difffae.train import main
from difffae.training.request import Catalog
from difffae.training.stages import DirectRecipe, GradientRecipe
from difffae.training.trainer_config import TrainerConfig


class LineStage:
    """Learns one number."""

    name = "line"

    def __init__(self, slope: float) -> None:
        self.modules = nn.ModuleDict({"line": nn.Linear(1, 1)})
        self.slope = slope

    def num_samples(self) -> int:
        return 8

    def sample_weights(self) -> NDArray[np.float64] | None:
        return None

    def batch(
        self, indices: NDArray[np.int64], generator: np.random.Generator
    ) -> dict[str, Tensor]:
        return {"x": torch.from_numpy(indices.astype(np.float32))[:, None]}

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        return (self.modules["line"](batch["x"]) - self.slope * batch["x"]).square().mean(), {}

    def sample_grid(self) -> NDArray[np.uint8] | None:
        return None


SETTINGS = TrainerConfig(batch_size=2, num_steps=6, precision="fp32", learning_rate=0.125)


@dataclass(frozen=True, kw_only=True)
class LineModel:
    """What is learned."""

    slope: float = 2.0
    widths: tuple[int, ...] = (1, 2)
    has_curve: bool = True


@dataclass(frozen=True, kw_only=True)
class LineTraining:
    """How it is learned."""

    data: Path = Path("numbers")
    line: TrainerConfig = SETTINGS
    curve: TrainerConfig = SETTINGS


@dataclass(frozen=True, kw_only=True)
class LineConfig:
    """A whole configuration."""

    model: LineModel = LineModel()
    training: LineTraining = LineTraining()


class CurveStage(LineStage):
    """Learns another number."""

    name = "curve"


def learn_directly(config: LineConfig, run_directory: Path) -> None:
    with (run_directory / "learned.txt").open("a", encoding="utf-8") as file:
        file.write(f"{config.model.slope}\n")


@pytest.fixture
def catalog() -> Catalog:
    recipes = {
        "first": DirectRecipe(learn=learn_directly),
        "line": GradientRecipe(
            trainer=lambda c: c.training.line, build=lambda c, _: LineStage(slope=c.model.slope)
        ),
        "direct": DirectRecipe(learn=learn_directly),
        "curve": GradientRecipe(
            trainer=lambda c: c.training.curve,
            build=lambda c, _: CurveStage(slope=c.model.slope),
            is_needed=lambda c: c.model.has_curve,
        ),
    }
    return Catalog(schema=LineConfig, recipes=recipes)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, catalog: Catalog) -> Run:
    """Runs the command with a configuration in a folder; returns exit status and what it said."""
    (tmp_path / "slope.yaml").write_text("model:\n  slope: 2.0\n", "utf-8")

    def run_command(*arguments: str) -> tuple[int, str]:
        console = Console(file=io.StringIO(), width=200)
        place = ("--config", str(tmp_path / "slope.yaml"), "--run-directory", str(tmp_path / "run"))
        status = main([*place, *arguments], console, catalog)
        return status, console.file.getvalue()

    return run_command


def saved_state(tmp_path: Path, step: int) -> dict[str, Any]:
    path = tmp_path / "run" / "line" / f"checkpoint-{step:09d}.safetensors"
    return dict(json.loads(load_metadata(path)["state"]))


def test_a_stage_trains_with_the_settings_of_its_configuration(run: Run, tmp_path: Path) -> None:
    status, said = run("--stage", "line")
    assert status == 0
    assert saved_state(tmp_path, 6)["config"]["learning_rate"] == 0.125
    assert "step 6/6 loss" in said
    assert (tmp_path / "run" / "line" / "line.safetensors").is_file()


def test_the_command_line_overrides_single_settings(run: Run, tmp_path: Path) -> None:
    status, _ = run("--stage", "line", "--trainer.num_steps", "3", "--trainer.max_minutes", "10")
    assert status == 0
    config = saved_state(tmp_path, 3)["config"]
    assert config["learning_rate"] == 0.125
    assert config["batch_size"] == 2
    assert config["max_minutes"] == 10


def test_a_second_run_resumes_unless_asked_to_start_afresh(run: Run, tmp_path: Path) -> None:
    run("--stage", "line", "--trainer.num_steps", "3")
    _, said = run("--stage", "line")
    assert "resuming line at step 3" in said
    _, said = run("--stage", "line", "--fresh")
    assert "resuming" not in said
    assert (tmp_path / "run" / "line.old-1").is_dir()


def test_a_stage_with_a_closed_solution_is_learned_directly(run: Run, tmp_path: Path) -> None:
    assert run("--stage", "direct") == (0, "")
    assert (tmp_path / "run" / "learned.txt").read_text("utf-8") == "2.0\n"


def test_an_unknown_stage_is_refused_in_one_line(run: Run) -> None:
    status, said = run("--stage", "lines")
    assert status == 2
    assert said == (
        "difffae.train: got --stage lines, expected one that the configuration has: "
        "first, line, direct, curve, all\n"
    )


def test_a_missing_configuration_is_refused_in_one_line(
    run: Run,
) -> None:
    status, said = run("--config", "nowhere.yaml", "--stage", "line")
    assert status == 2
    assert said.startswith("difffae.train: ")
    assert "nowhere.yaml" in said
    assert said.count("\n") == 1


def test_resume_and_fresh_together_are_refused(run: Run) -> None:
    status, said = run("--stage", "line", "--fresh", "--resume")
    assert status == 2
    assert "expected one of them" in said


def test_a_loss_that_is_no_number_ends_in_one_line_without_a_traceback(
    run: Run, tmp_path: Path
) -> None:
    status, said = run("--stage", "line", "--model.slope", ".nan")
    assert status == 2
    assert said.splitlines()[-1].startswith("difffae.train: step 1 of line: got loss nan")


def test_a_setting_out_of_range_is_refused_in_one_line(
    run: Run,
) -> None:
    status, said = run("--stage", "line", "--trainer.batch_size", "0")
    assert status == 2
    assert "trainer.batch_size: got 0, expected at least 1" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["trainer.nothing", "model.nothing", "training.line.nothing"])
def test_an_unknown_setting_is_refused_in_one_line(run: Run, name: str) -> None:
    status, said = run("--stage", "line", f"--{name}", "1")
    assert status == 2
    assert "nothing" in said
    assert said.count("\n") == 1


def test_help_names_the_settings(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"], Console(file=io.StringIO()), catalog)
    assert exit_info.value.code == 0
    shown = capsys.readouterr().out
    assert "--trainer.max_minutes" in shown
    assert "--model.slope" in shown
    assert "line, direct" in shown


def kept_config(tmp_path: Path) -> Any:
    return yaml.safe_load((tmp_path / "run" / "config.yaml").read_text("utf-8"))


def test_any_value_of_the_configuration_can_be_overridden(run: Run, tmp_path: Path) -> None:
    status, _ = run(
        *("--model.slope", "-1.5", "--model.widths", "[3, 4]", "--training.line.num_steps", "4"),
        *("--training.line.clip_norm", ".inf", "--stage", "line", "--trainer.batch_size", "4"),
    )
    assert status == 0
    kept = kept_config(tmp_path)
    assert kept["model"] == {"slope": -1.5, "widths": [3, 4], "has_curve": True}
    assert kept["training"]["line"]["num_steps"] == 4
    assert kept["training"]["line"]["clip_norm"] == math.inf
    assert kept["training"]["line"]["batch_size"] == 4
    assert kept["training"]["curve"]["batch_size"] == 2
    assert saved_state(tmp_path, 4)["run"]["model"]["slope"] == -1.5


def test_what_a_run_keeps_of_its_configuration_trains_the_same(run: Run, tmp_path: Path) -> None:
    run("--stage", "line", "--model.slope", "5", "--trainer.learning_rate", "0.5")
    kept = tmp_path / "run" / "config.yaml"
    status, said = run("--config", str(kept), "--stage", "line", "--trainer.num_steps", "8")
    assert status == 0
    assert "resuming line at step 6" in said
    assert saved_state(tmp_path, 8)["config"]["learning_rate"] == 0.5
    assert kept_config(tmp_path)["model"]["slope"] == 5.0


def test_a_run_of_another_model_is_refused_in_one_sentence_that_names_it(
    run: Run, tmp_path: Path
) -> None:
    run("--stage", "line")
    status, said = run("--stage", "curve", "--model.slope", "5", "--model.widths", "[9]")
    assert status == 2
    assert said == (
        f"difffae.train: {tmp_path}/run was made with another configuration: model.slope "
        "(was 2.0, now 5.0), model.widths (was [1, 2], now [9]); set these back, train into "
        "another --run-directory, or start afresh with --stage all --fresh\n"
    )
    assert kept_config(tmp_path)["model"]["slope"] == 2.0
    assert not (tmp_path / "run" / "curve").exists()


def test_a_stage_goes_on_with_its_own_trainer_only(run: Run, tmp_path: Path) -> None:
    run("--stage", "line", "--trainer.num_steps", "2")
    status, said = run("--stage", "line", "--trainer.learning_rate", "0.5", "--trainer.seed", "3")
    assert status == 2
    assert "trainer.learning_rate (was 0.125, now 0.5), trainer.seed (was 0, now 3)" in said
    assert said.count("\n") == 1
    status, said = run("--stage", "line", "--trainer.max_minutes", "9")
    assert status == 0
    assert "resuming line at step 2" in said


def test_data_may_move_between_runs(run: Run) -> None:
    run("--stage", "line", "--trainer.num_steps", "2", "--training.data", "here")
    status, said = run("--stage", "line", "--training.data", "there")
    assert status == 0
    assert "resuming line at step 2" in said


def test_all_stages_are_trained_in_order_and_not_again(run: Run, tmp_path: Path) -> None:
    status, said = run("--stage", "all")
    assert status == 0
    order = [said.index(words) for words in ("line from step 0", "curve from step 0")]
    assert order == sorted(order)
    learned = tmp_path / "run" / "learned.txt"
    assert learned.read_text("utf-8") == "2.0\n2.0\n"
    status, said = run("--stage", "all")
    assert status == 0
    finished = [f"{name} is finished" for name in ("first", "line", "direct", "curve")]
    assert [line[24:] for line in said.splitlines()] == finished
    assert learned.read_text("utf-8") == "2.0\n2.0\n"


def test_all_stages_leave_out_what_the_configuration_has_not(run: Run, tmp_path: Path) -> None:
    status, _ = run("--stage", "all", "--model.has_curve", "false")
    assert status == 0
    assert not (tmp_path / "run" / "curve").exists()
    status, said = run("--stage", "curve", "--model.has_curve", "false")
    assert status == 2
    assert "expected one that the configuration has: first, line, direct, all" in said


def test_a_time_limit_ends_all_stages_and_a_second_call_goes_on(run: Run, tmp_path: Path) -> None:
    status, said = run("--stage", "all", "--trainer.max_minutes", "1e-7")
    assert status == 0
    assert "line stopped before its end; run again to go on" in said
    assert not (tmp_path / "run" / "curve").exists()
    status, said = run("--stage", "all")
    assert status == 0
    assert (tmp_path / "run" / "curve" / "line.safetensors").is_file()


def test_minutes_count_over_all_stages(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 61.0])
    monkeypatch.setattr("difffae.train.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    status, said = run("--stage", "all", "--trainer.max_minutes", "1")
    assert status == 0
    assert "line stopped before its end" in said
    assert not (tmp_path / "run" / "line").exists()


def test_a_stage_trained_anew_lets_what_is_learned_from_it_be_learned_again(
    run: Run, tmp_path: Path
) -> None:
    run("--stage", "all")
    run("--stage", "line", "--fresh")
    _, said = run("--stage", "all")
    assert "first is finished" in said
    assert "direct is finished" not in said
    assert (tmp_path / "run" / "learned.txt").read_text("utf-8") == "2.0\n" * 3


def test_all_stages_afresh_may_make_another_model(run: Run, tmp_path: Path) -> None:
    run("--stage", "all")
    status, _ = run("--stage", "all", "--fresh", "--model.slope", "5")
    assert status == 0
    assert kept_config(tmp_path)["model"]["slope"] == 5.0
    assert (tmp_path / "run" / "line.old-1").is_dir()
    assert (tmp_path / "run" / "learned.txt").read_text("utf-8") == "2.0\n2.0\n5.0\n5.0\n"


def test_a_run_directory_that_cannot_be_written_is_refused_in_one_line(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("a file", "utf-8")
    status, said = run("--stage", "line")
    assert status == 2
    assert said.startswith(f"difffae.train: cannot write to {tmp_path}/run (")
    assert said.count("\n") == 1


def test_a_kept_configuration_that_does_not_read_is_refused_in_one_line(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("model: [", "utf-8")
    status, said = run("--stage", "line")
    assert status == 2
    assert "config.yaml does not read" in said
    assert said.count("\n") == 1
