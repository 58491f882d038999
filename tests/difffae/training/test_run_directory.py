"""Files of a run."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from difffae.checkpoint import WeightsError, load_tensors
from difffae.training.run_directory import RunDirectory


@pytest.fixture
def files(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path, "decoder")
    directory.create()
    return directory


def save(files: RunDirectory, step: int) -> Path:
    return files.save({"weight": torch.full((2,), float(step))}, {"step": step})


def test_the_last_two_checkpoints_are_kept(files: RunDirectory) -> None:
    for step in (5, 90, 1000, 20_000):
        save(files, step)
    assert [path.name for path in files.checkpoint_paths()] == [
        "checkpoint-000001000.safetensors",
        "checkpoint-000020000.safetensors",
    ]
    latest = files.load_latest()
    assert latest is not None
    assert latest.step == 20_000
    assert latest.tensors["weight"].tolist() == [20_000.0, 20_000.0]


def test_no_checkpoint_is_no_error(files: RunDirectory) -> None:
    assert files.load_latest() is None


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    files: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    save(files, 1)
    newest = save(files, 2)
    newest.write_bytes(newest.read_bytes()[:-3])
    with caplog.at_level(logging.WARNING):
        latest = files.load_latest()
    assert latest is not None
    assert latest.step == 1
    assert newest.name in caplog.text


def test_only_damaged_checkpoints_are_refused_with_a_way_out(files: RunDirectory) -> None:
    save(files, 1).write_bytes(b"")
    with pytest.raises(WeightsError, match="--fresh"):
        files.load_latest()


def test_an_earlier_run_is_renamed_not_deleted(files: RunDirectory, tmp_path: Path) -> None:
    for step in (1, 2):
        save(files, step)
        files.set_aside()
        files.create()
    assert files.load_latest() is None
    assert sorted(path.name for path in tmp_path.glob("*.old-*/*.safetensors")) == [
        "checkpoint-000000001.safetensors",
        "checkpoint-000000002.safetensors",
    ]


def test_what_a_killed_writer_left_is_cleared(files: RunDirectory) -> None:
    leftover = files.folder / ".checkpoint-000000003.safetensors.77.partial"
    leftover.write_bytes(b"half")
    files.create()
    assert not leftover.exists()


def test_every_network_is_exported_under_its_name(files: RunDirectory) -> None:
    networks = nn.ModuleDict({"denoiser": nn.Linear(2, 1), "decoder": nn.Linear(1, 1)})
    files.export(networks.state_dict())
    tensors = load_tensors(files.folder / "denoiser.safetensors")
    assert sorted(tensors) == ["bias", "weight"]
    assert torch.equal(tensors["weight"], networks["denoiser"].weight)
    assert (files.folder / "decoder.safetensors").is_file()


def test_a_sample_is_a_png_with_the_colours_given(files: RunDirectory) -> None:
    path = files.write_sample(12, np.full((2, 3, 3), (250, 120, 10), np.uint8))
    assert path.name == "step-000000012.png"
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture.shape == (2, 3, 3)
    assert picture[0, 0].tolist() == [10, 120, 250]


def test_a_sample_of_another_shape_is_refused(files: RunDirectory) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
        files.write_sample(1, np.zeros((4, 4, 1), np.uint8))
