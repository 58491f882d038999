"""Tasks in processes of their own: what they find, and what becomes of one that dies."""

import os
from pathlib import Path

import pytest

from difffae.data.shards import CannotWriteError
from difffae.data.tasks import TaskSettings
from difffae.data.workers import run_tasks
from planted_tasks import PlantedTask


def outcomes(folder: Path, tasks: list[PlantedTask], num_workers: int) -> dict[str, list[str]]:
    """For each file what was said of it, in order."""
    told: dict[str, list[str]] = {}
    for findings in run_tasks(tasks, TaskSettings(output=folder), num_workers):
        for finding in findings:
            told.setdefault(finding.file, []).append(finding.reason or finding.result)
    return told


def test_a_killed_worker_costs_its_task_alone_and_is_tried_again(tmp_path: Path) -> None:
    tasks = [
        PlantedTask(name="a"),
        PlantedTask(name="b", fault="killed"),
        PlantedTask(name="c", fault="bad file"),
        PlantedTask(name="d"),
    ]
    told = outcomes(tmp_path, tasks, 2)
    assert told.pop("b") == ["the process that read it died with exit code -9"]  # not finished
    wanted = ["written", "finished"]
    assert told == {"a": wanted, "c": ["a bad file", "finished"], "d": wanted}
    pids = {int((tmp_path / name).read_text("utf-8")) for name in ("a", "d")}
    assert os.getpid() not in pids


def test_a_full_disk_in_a_worker_stops_the_run_with_one_error(tmp_path: Path) -> None:
    tasks = [PlantedTask(name="a", fault="full disk"), PlantedTask(name="b", fault="full disk")]
    with pytest.raises(CannotWriteError, match=r"cannot write \w \(No space left on device\)"):
        outcomes(tmp_path, tasks, 2)


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    told = outcomes(tmp_path, [PlantedTask(name="a"), PlantedTask(name="c", fault="bad file")], 1)
    assert told == {"a": ["written", "finished"], "c": ["a bad file", "finished"]}
    assert (tmp_path / "a").read_text("utf-8") == str(os.getpid())
    with pytest.raises(CannotWriteError):
        outcomes(tmp_path, [PlantedTask(name="a", fault="full disk")], 1)


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 0 workers"):
        outcomes(tmp_path, [PlantedTask(name="a")], 0)
