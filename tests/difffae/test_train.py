"""The command that trains one stage."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from difffae.checkpoint import load_metadata
from difffae.train import Catalog, main
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


def read_slope(path: Path) -> float:
    if not path.is_file():
        raise ValueError("got no such file, expected a YAML configuration")
    return float(path.read_text("utf-8"))


def learn_directly(config: Any, run_directory: Path) -> None:
    run_directory.mkdir(parents=True, exist_ok=True)
    (run_directory / "learned.txt").write_text(str(config), "utf-8")


@pytest.fixture
def catalog() -> Catalog:
    settings = TrainerConfig(batch_size=2, num_steps=6, precision="fp32", learning_rate=0.125)
    recipes = {
        "line": GradientRecipe(
            trainer=lambda _: settings, build=lambda slope, _: LineStage(slope=slope)
        ),
        "direct": DirectRecipe(learn=learn_directly),
    }
    return Catalog(read_config=read_slope, recipes=recipes)


@pytest.fixture
def run(tmp_path: Path, catalog: Catalog) -> Callable[..., tuple[int, str]]:
    """Runs the command with a configuration in a folder; returns exit status and what it said."""
    (tmp_path / "slope.yaml").write_text("2.0", "utf-8")

    def run_command(*arguments: str) -> tuple[int, str]:
        console = Console(file=io.StringIO(), width=200)
        place = ("--config", str(tmp_path / "slope.yaml"), "--run-directory", str(tmp_path / "run"))
        status = main([*place, *arguments], console, catalog)
        return status, console.file.getvalue()

    return run_command


def saved_state(tmp_path: Path, step: int) -> dict[str, Any]:
    path = tmp_path / "run" / "line" / f"checkpoint-{step:09d}.safetensors"
    return dict(json.loads(load_metadata(path)["state"]))


def test_a_stage_trains_with_the_settings_of_its_configuration(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    status, said = run("--stage", "line")
    assert status == 0
    assert saved_state(tmp_path, 6)["config"]["learning_rate"] == 0.125
    assert "step 6/6 loss" in said
    assert (tmp_path / "run" / "line" / "line.safetensors").is_file()


def test_the_command_line_overrides_single_settings(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    status, _ = run("--stage", "line", "--trainer.num_steps", "3", "--trainer.max_minutes", "10")
    assert status == 0
    config = saved_state(tmp_path, 3)["config"]
    assert config["learning_rate"] == 0.125
    assert config["batch_size"] == 2
    assert config["max_minutes"] == 10


def test_a_second_run_resumes_unless_asked_to_start_afresh(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    run("--stage", "line", "--trainer.num_steps", "3")
    _, said = run("--stage", "line")
    assert "resuming line at step 3" in said
    _, said = run("--stage", "line", "--fresh")
    assert "resuming" not in said
    assert (tmp_path / "run" / "line.old-1").is_dir()


def test_a_stage_with_a_closed_solution_is_learned_directly(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    assert run("--stage", "direct") == (0, "")
    assert (tmp_path / "run" / "learned.txt").read_text("utf-8") == "2.0"


def test_an_unknown_stage_is_refused_in_one_line(run: Callable[..., tuple[int, str]]) -> None:
    status, said = run("--stage", "lines")
    assert status == 2
    assert said == "difffae.train: got --stage lines, expected one of: line, direct\n"


def test_a_missing_configuration_is_refused_in_one_line(
    run: Callable[..., tuple[int, str]],
) -> None:
    status, said = run("--config", "nowhere.yaml", "--stage", "line")
    assert status == 2
    assert said.startswith("difffae.train: --config nowhere.yaml: got no such file")
    assert said.count("\n") == 1


def test_resume_and_fresh_together_are_refused(run: Callable[..., tuple[int, str]]) -> None:
    status, said = run("--stage", "line", "--fresh", "--resume")
    assert status == 2
    assert "expected one of them" in said


def test_a_loss_that_is_no_number_ends_in_one_line_without_a_traceback(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    (tmp_path / "slope.yaml").write_text("nan", "utf-8")
    status, said = run("--stage", "line")
    assert status == 2
    assert said.splitlines()[-1].startswith("difffae.train: step 1 of line: got loss nan")


def test_a_setting_out_of_range_is_refused_in_one_line(
    run: Callable[..., tuple[int, str]],
) -> None:
    status, said = run("--stage", "line", "--trainer.batch_size", "0")
    assert status == 2
    assert said.startswith("difffae.train: trainer.batch_size: got 0, expected at least 1")
    assert said.count("\n") == 1


def test_an_unknown_setting_exits_with_two(
    run: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run("--stage", "line", "--trainer.nothing", "1")
    assert exit_info.value.code == 2
    assert "nothing" in capsys.readouterr().err


def test_help_names_the_settings(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"], Console(file=io.StringIO()), catalog)
    assert exit_info.value.code == 0
    shown = capsys.readouterr().out
    assert "--trainer.max_minutes" in shown
    assert "line, direct" in shown
