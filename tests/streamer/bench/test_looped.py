"""A looped driver has as many frames as asked for, the clip forth and back."""

from pathlib import Path

import numpy as np
import pytest

from streamer.bench.looped import write_looped
from streamer.errors import UsageError
from streamer_media import VideoOptions, moving_frames, read_video, write_video


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Four frames of brighter and brighter grey, 10 a second, with sound."""
    frames = [np.full((64, 96, 3), 40 + 50 * number, np.uint8) for number in range(4)]
    return write_video(tmp_path / "clip.mp4", frames, VideoOptions(rate=10, audio_codec="aac"))


def test_the_clip_goes_forth_and_back(clip: Path, tmp_path: Path) -> None:
    write_looped(clip, tmp_path / "long.mp4", 10)
    images, times_s = read_video(tmp_path / "long.mp4")
    levels = [round((image.mean() - 40) / 50) for image in images]
    assert levels == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert [float(each) for each in times_s] == pytest.approx([n / 10 for n in range(10)])


def test_a_driver_may_be_shorter_than_the_clip(clip: Path, tmp_path: Path) -> None:
    write_looped(clip, tmp_path / "short.mp4", 1)
    (image,), _ = read_video(tmp_path / "short.mp4")
    assert image.shape == (64, 96, 3)


def test_a_clip_of_one_frame_stands_still(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "still.mp4", moving_frames(1))
    write_looped(clip, tmp_path / "long.mp4", 3)
    assert len(read_video(tmp_path / "long.mp4")[0]) == 3


def test_a_driver_of_no_frame_is_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one frame"):
        write_looped(clip, tmp_path / "none.mp4", 0)
