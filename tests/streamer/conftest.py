"""Fixtures of the streamer's tests: a driver and a portrait on disk."""

import os
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from streamer_media import moving_frames, write_video


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests' test certificate is kept, instead of in the user's own folder."""
    return tmp_path_factory.mktemp("configuration")


@pytest.fixture(autouse=True)
def own_configuration(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the user's configuration alone."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(configuration))


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """What the stub engine waits for in a HOLD frame: to be opened and closed here."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """What passes for a user's model until something loads it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.yaml").write_text("size: 1\n", "utf-8")
    return folder


@pytest.fixture
def driver(tmp_path: Path, model: Path) -> Path:
    """130 frames, 96×64, 25 a second: two full segments and a rest."""
    return write_video(tmp_path / "clip.mp4", moving_frames(130))


@pytest.fixture
def source(tmp_path: Path, model: Path) -> Path:
    """A portrait of odd size, 101×121, with the model beside it."""
    path = tmp_path / "person.png"
    PillowImage.fromarray(moving_frames(1, height=121, width=101)[0]).save(path)
    return path
