"""Clips cut out of a video in one pass over its frames, however many there are."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from difffae.arrays import Points3
from difffae.data.boxes import Box, cut_out
from difffae.data.clip_writers import ClipWriter
from difffae.data.video import FRAME_RATE_HZ, UnreadableVideoError, read_at_rate

_COMPLETE_SHARE = 0.9  # a clip with fewer of its frames is cut short by the video's end


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One clip to cut from a video.

    Attributes:
        start: first tick (25 a second).
        end: tick after the last.
        box: what to cut out, in the video's pixels.
        points: the mesh points in the crop's pixels at those ticks that are wanted; None = every
            tick is wanted, and what is to be tracked is tracked later.
        writer: takes the crops.
    """

    start: int
    end: int
    box: Box
    points: Mapping[int, Points3] | None
    writer: ClipWriter

    def wants(self, tick: int) -> bool:
        """Whether the frame at a tick belongs to the clip."""
        return self.start <= tick < self.end and (self.points is None or tick in self.points)


@contextlib.contextmanager
def discarding(writers: Sequence[ClipWriter]) -> Iterator[None]:
    """Leave nothing half written if what is within fails."""
    with contextlib.ExitStack() as stack:
        for writer in writers:
            stack.callback(writer.discard)
        yield
        stack.pop_all()


def write_cuts(path: Path, cuts: Sequence[Cut], size: int) -> list[str | None]:
    """Write the clips of a video; the reason for each that could not be.

    Where the video breaks off, the clips before are written all the same.

    Args:
        path: the video.
        cuts: its clips.
        size: side of the crops [px].

    Raises:
        CannotWriteError: the disk is full, read-only or gone.
    """
    if not cuts:
        return []
    counts = [0] * len(cuts)
    with discarding([cut.writer for cut in cuts]):
        trouble = _feed(path, cuts, size, counts)
        return [_finish(cut, count, trouble) for cut, count in zip(cuts, counts, strict=True)]


def _feed(path: Path, cuts: Sequence[Cut], size: int, counts: list[int]) -> str:
    """Give each cut its frames and count them; why there are no more."""
    try:
        for tick, image in read_at_rate(
            path, FRAME_RATE_HZ, lambda tick: any(cut.wants(tick) for cut in cuts)
        ):
            for number in (k for k, cut in enumerate(cuts) if cut.wants(tick)):
                cut = cuts[number]
                points = None if cut.points is None else cut.points[tick]
                cut.writer.add(tick - cut.start, cut_out(image, cut.box, size), points)
                counts[number] += 1
    except UnreadableVideoError as error:
        return str(error)
    return "the video ends before"


def _finish(cut: Cut, count: int, trouble: str) -> str | None:
    wanted = cut.end - cut.start if cut.points is None else len(cut.points)
    if count < _COMPLETE_SHARE * wanted:
        cut.writer.discard()
        return f"{trouble}: {count} of the clip's {wanted} frames"
    return cut.writer.finish()
