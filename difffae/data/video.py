"""Videos in, frames out: in order, or at an even rate by their timestamps.

A folder of numbered PNG files, as First Order Motion Model's preprocessing leaves them, counts as
a video.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np

from difffae.arrays import ImageU8

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v"})
FRAME_RATE_HZ = 25.0  # of VoxCeleb and of the clips made from it
_ROUNDING_S = 1e-6  # of timestamps
_COMPLETE_SHARE = 0.9  # a file with fewer of the frames its header promises breaks off


class UnreadableVideoError(ValueError):
    """A file that is no video, or a damaged one."""


def read_clip(path: Path) -> Iterator[ImageU8]:
    """Frames in order, from a video file or from FOMM's folder of numbered PNGs.

    Raises:
        UnreadableVideoError: the file is no video, has none, or breaks off.
    """
    if path.is_dir():
        yield from _read_pictures(path)
        return
    for frame in _decode(path):
        yield _rgb(frame)


def read_at_rate(
    path: Path, rate_hz: float, is_wanted: Callable[[int], bool]
) -> Iterator[tuple[int, ImageU8]]:
    """Frames at an even rate: for each tick the frame nearest in time, if it is wanted.

    Tick 0 is the first frame; a video of the same rate gives each of its frames once.

    Args:
        path: a video file, or a folder of PNGs, which counts as being of this rate.
        rate_hz: ticks a second.
        is_wanted: whether a tick's frame is to be converted and yielded.

    Raises:
        UnreadableVideoError: the file is no video, has none, or breaks off.
    """
    if path.is_dir():
        yield from (pair for pair in enumerate(_read_pictures(path)) if is_wanted(pair[0]))
        return
    tick, shown, shown_at = 0, None, 0.0
    for at, frame in _timed(path):
        middle = (shown_at + at) / 2
        while shown is not None and tick / rate_hz < middle:
            if is_wanted(tick):
                yield tick, _rgb(shown)
            tick += 1
        shown, shown_at = frame, at
    while shown is not None and tick / rate_hz < shown_at + 0.5 / rate_hz - _ROUNDING_S:
        if is_wanted(tick):
            yield tick, _rgb(shown)
        tick += 1


def _timed(path: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    """Frames with their time [s] since the first; one without a timestamp counts as of 25 Hz."""
    first = None
    for number, frame in enumerate(_decode(path)):
        time = number / FRAME_RATE_HZ if frame.time is None else frame.time
        first = time if first is None else first
        yield time - first, frame


def _decode(path: Path) -> Iterator[av.VideoFrame]:
    if not path.stat().st_size:
        raise UnreadableVideoError("an empty file")
    count = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UnreadableVideoError("it has no video, only sound or text")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            promised = stream.frames
            for frame in container.decode(stream):
                count += 1
                yield frame
    except av.FFmpegError as error:
        place = f"damaged after {count} frames" if count else "not a readable video"
        raise UnreadableVideoError(f"{place} ({error.strerror})") from error
    if not count:
        raise UnreadableVideoError("a video without frames")
    if count < _COMPLETE_SHARE * promised:
        raise UnreadableVideoError(f"it breaks off after {count} of {promised} frames")


def _rgb(frame: av.VideoFrame) -> ImageU8:
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns), np.uint8)


def _read_pictures(folder: Path) -> Iterator[ImageU8]:
    """Pictures in the order of their names: a listing's own order is not that of time."""
    files = sorted(folder.glob("*.png"))
    if not files:
        raise UnreadableVideoError("a folder without PNG frames")
    for file in files:
        image = cast(ImageU8 | None, cv2.imread(str(file)))
        if image is None:
            raise UnreadableVideoError(f"{file.name} is not a picture")
        yield np.ascontiguousarray(image[..., ::-1])
