"""Checkpoints of others: tensors come out, code never runs."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from difffae.checkpoint import WeightsError
from difffae.torch_file import read_torch_file


class Trainer:
    """What a training library leaves beside the tensors."""

    def __init__(self) -> None:
        self.best = 3


class Hostile:
    """A pickle that makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_tensors_and_containers_are_read_from_either_format(tmp_path: Path, is_zip: bool) -> None:
    path = tmp_path / "weights.pth"
    content = {"state": {"weight": torch.arange(6.0).reshape(2, 3)}, "step": 7}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    read = read_torch_file(path)
    assert isinstance(read, dict)
    assert read["step"] == 7
    torch.testing.assert_close(read["state"]["weight"], content["state"]["weight"])


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path: Path, is_zip: bool) -> None:
    path, folder = tmp_path / "weights.ckpt", tmp_path / "made"
    torch.save({"x": Hostile(folder)}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match="without running code"):
        read_torch_file(path)
    assert not folder.exists()


def test_a_plain_pickle_is_refused_too(tmp_path: Path) -> None:
    path, folder = tmp_path / "weights.pt", tmp_path / "made"
    path.write_bytes(pickle.dumps(Hostile(folder)))
    with pytest.raises(WeightsError, match=r"weights\.pt is damaged"):
        read_torch_file(path)
    assert not folder.exists()


def test_a_named_class_beside_the_tensors_is_left_empty(tmp_path: Path) -> None:
    path = tmp_path / "weights.ckpt"
    torch.save({"callback": Trainer(), "weight": torch.ones(2)}, path)
    with pytest.raises(WeightsError, match="Trainer"):
        read_torch_file(path)
    name = f"{Trainer.__module__}.{Trainer.__qualname__}"
    read = read_torch_file(path, ignored_classes=[name])
    assert isinstance(read, dict)
    assert not isinstance(read["callback"], Trainer)
    torch.testing.assert_close(read["weight"], torch.ones(2))


def test_a_missing_and_a_truncated_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.tar"
    with pytest.raises(WeightsError, match=r"no file at .*weights\.tar"):
        read_torch_file(path)
    torch.save({"weight": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(WeightsError, match=r"weights\.tar is damaged"):
        read_torch_file(path)
