"""Logged rows."""

import io
import json
import logging
from pathlib import Path

import pytest
from rich.console import Console

from difffae.training.progress import LogRow, MetricsLog, open_log_lines
from difffae.training.terminal import open_bar


def row(step: int, loss: float = 0.5) -> LogRow:
    return LogRow(step=step, values={"loss": loss}, samples_per_s=12.34, remaining_s=3725.2)


def write(path: Path, first_step: int, rows: list[LogRow]) -> None:
    log = MetricsLog(path, first_step)
    for each in rows:
        log.write(each)
    log.close()


def read_steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text("utf-8").splitlines()]


def test_a_row_says_loss_speed_and_time_left() -> None:
    assert row(1).sentence() == "loss 0.5 12.3 samples/s ETA 1:02:05"


def test_rows_reach_the_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, 0, [row(10, 0.75), row(20, 0.25)])
    assert json.loads(path.read_text("utf-8").splitlines()[1]) == {
        "step": 20,
        "loss": 0.25,
        "samples_per_s": 12.34,
    }


def test_a_resumed_run_forgets_rows_past_its_checkpoint_and_torn_ones(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, 0, [row(10), row(20), row(30)])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 4')
    write(path, 20, [row(25)])
    assert read_steps(path) == [10, 20, 25]


def test_log_lines_name_step_and_loss(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), open_log_lines("decoder", 0, 100) as display:
        display.advance(10)
        display.show(row(10))
    assert "decoder from step 0" in caplog.text
    assert "step 10/100 loss 0.5 12.3 samples/s ETA 1:02:05" in caplog.text


def test_a_bar_shows_title_step_and_row() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with open_bar("decoder", 5, 100, console=console) as display:
        display.advance(37)
        display.show(row(37))
    shown = console.file.getvalue()
    assert "decoder" in shown
    assert "37/100" in shown
    assert "loss 0.5" in shown
