"""A real face, a film of it rolling its head, and one landmark meter for all tests."""

from pathlib import Path

import pytest

from difffae.arrays import ImageU8, Points3
from difffae.metrics.landmarks import LandmarkMeter
from evaluation_media import portrait_256, turned, write_clips

ROLLS_DEG = (0.0, 4.0, 8.0, 4.0, 0.0, -4.0, -8.0, -4.0, 0.0)


@pytest.fixture(scope="session")
def portrait() -> ImageU8:
    """The head of skimage's astronaut, 256x256."""
    return portrait_256()


@pytest.fixture(scope="session")
def rolled(portrait: ImageU8) -> list[ImageU8]:
    """The portrait turned in its plane by ROLLS_DEG, clockwise as seen."""
    return [turned(portrait, angle) for angle in ROLLS_DEG]


@pytest.fixture(scope="session")
def landmarks() -> LandmarkMeter:
    """One object for all: each holds native graphs."""
    return LandmarkMeter()


@pytest.fixture(scope="session")
def face_points(landmarks: LandmarkMeter, portrait: ImageU8) -> Points3:
    """Mesh points of the portrait."""
    points = landmarks.points(portrait)
    assert points is not None
    return points


@pytest.fixture(scope="session")
def clips_folder(tmp_path_factory: pytest.TempPathFactory, rolled: list[ImageU8]) -> Path:
    """Two people's clips (the second mirrored) under clips/, and their clips.csv."""
    return write_clips(tmp_path_factory.mktemp("media"), rolled)
