"""A disk that is full while a stage trains: it stops in one sentence and loses nothing."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from difffae.training.errors import RunDirectoryError
from difffae.training.run_directory import RunDirectory
from difffae.training.trainer import fit
from difffae.training.trainer_config import TrainerConfig

CONFIG = TrainerConfig(
    batch_size=4,
    num_steps=12,
    precision="fp32",
    report_to="none",
    checkpoint_every_s=1e-9,
    sample_every_s=1e6,
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 192 KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a failed run may hold files


def fill(folder: Path) -> None:
    """Leave not one byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (4096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


def acting(stage: Any, step: int, act: Callable[[], object]) -> Any:
    """The stage, acting as it begins a step."""
    loss = stage.loss

    def act_first(batch: Any, number: int) -> Any:
        if number == step:
            act()
        return loss(batch, number)

    stage.loss = act_first
    return stage


def assert_whole(folder: Path, step: int) -> None:
    """The newest checkpoint reads, is that of the step, and nothing is left half-written."""
    kept = RunDirectory(folder, "toy").load_latest()
    assert kept is not None
    assert kept.step == step
    assert not [path for path in folder.rglob("*") if "partial" in path.name]


def assert_goes_on(toy: ModuleType, folder: Path, other: Path) -> None:
    """With room again, the run ends as one that was never stopped."""
    fit(toy.ToyStage(), CONFIG, folder)
    fit(toy.ToyStage(), CONFIG, other)
    got, expected = (RunDirectory(root, "toy").load_latest() for root in (folder, other))
    assert got is not None
    assert expected is not None
    assert all(torch.equal(got.tensors[name], t) for name, t in expected.tensors.items())


def test_a_full_disk_stops_the_run_with_its_last_checkpoint_whole(
    toy: ModuleType, small_disk: Path, tmp_path: Path
) -> None:
    stage = acting(toy.ToyStage(), 5, lambda: fill(small_disk))
    with pytest.raises(RunDirectoryError) as error:
        fit(stage, CONFIG, small_disk)
    said = str(error.value)
    assert said.startswith(f"step 6 of toy: cannot write to {small_disk}/toy ([Errno 28] No space")
    assert f"the last good checkpoint is {small_disk}/toy/checkpoint-000000005.safetensors" in said
    assert "\n" not in said
    assert_whole(small_disk, 5)
    (small_disk / "filler").unlink()
    assert_goes_on(toy, small_disk, tmp_path / "whole")


@pytest.mark.parametrize("kind", ["checkpoint-", "mixer.safetensors", "step-"])
def test_a_write_that_fails_leaves_no_half_of_a_file(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    sync, is_full = os.fsync, [False]

    def fail(descriptor: int) -> None:
        if is_full[0] and kind in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    stage = acting(toy.ToyStage(), 5, lambda: is_full.__setitem__(0, True))
    with pytest.raises(RunDirectoryError, match="No space left on device"):
        fit(stage, CONFIG, tmp_path)
    assert_whole(tmp_path, {"checkpoint-": 5, "mixer.safetensors": 6, "step-": 12}[kind])
