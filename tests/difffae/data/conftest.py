"""Videos of faces before a wide background, prepared once by one process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.data.prepare import Preparation, prepare
from difffae.data.quality import ClipLimits
from face_media import read_picture

LIMITS = ClipLimits(min_frames=8, min_sharpness=0.005)
WriteMp4 = Callable[[Path, list[NDArray[np.uint8]]], None]


def wide(portrait: Path, width: int = 360, height: int = 288) -> NDArray[np.uint8]:
    """A portrait in the middle of a wide picture."""
    image = np.full((height, width, 3), 170, np.uint8)
    left = (width - height) // 2
    image[:, left : left + height] = read_picture(portrait, height)
    return image


@pytest.fixture(scope="session")
def prepared_videos(
    tmp_path_factory: pytest.TempPathFactory, mp4_writer: WriteMp4, openpeople: list[Path]
) -> tuple[Path, Path]:
    """A folder of videos and what one process made of it at stride 3.

    The videos are one of two people with a cut, one of a third person, a face crop under FOMM's
    name, and a file that is cut short.
    """
    folder = tmp_path_factory.mktemp("videos")
    first, second, third = (wide(path) for path in openpeople[:3])
    mp4_writer(folder / "two people.mp4", [first] * 11 + [second] * 10)
    mp4_writer(folder / "third.mp4", [third] * 9 + [np.full_like(third, 60)] * 9)
    mp4_writer(folder / "id9#v#000000#000006.mp4", [read_picture(openpeople[3], 256)] * 6)
    (folder / "broken.mp4").write_bytes((folder / "third.mp4").read_bytes()[:900])
    output = tmp_path_factory.mktemp("alone")
    summary = prepare(Preparation(folder=folder, output=output, stride=3, limits=LIMITS))
    assert (summary.written, summary.rejected) == (4, 1)
    return folder, output
