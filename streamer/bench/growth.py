"""How time and memory of the offline command grow with the driver's length and the portrait's side.

Each point is the command as a user runs it, in a process of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.bench.looped import write_looped
from streamer.bench.offline import DRIVER, PORTRAIT, Measured, packaged_file, run_offline, scale
from streamer.errors import UsageError

PORTRAIT_SIDE = 256
SIZE_FRAMES = 100
BASE_FRAMES = 500
MEMORY_TOLERANCE = 0.05

Offline = Callable[[Path, Path, Path, list[str]], Measured]
"""Driver, portrait, output and options of the offline command -> what it took."""


@dataclass(frozen=True, kw_only=True)
class LengthPoint:
    """A driver of some length.

    Attributes:
        num_frames: of it.
        seconds: from start to end of the process.
        peak_megabytes: largest resident memory, loading included.
        settled_megabytes: resident memory towards the end.
    """

    num_frames: int
    seconds: float
    peak_megabytes: float
    settled_megabytes: float


@dataclass(frozen=True, kw_only=True)
class SizePoint:
    """A square portrait of some side.

    Attributes:
        side_px: of it.
        first_s: from start to the finished file of one frame.
        frame_ms: of each further frame.
        peak_megabytes: largest resident memory.
    """

    side_px: int
    first_s: float
    frame_ms: float
    peak_megabytes: float


@dataclass(frozen=True, kw_only=True)
class MemoryRatio:
    """The memory of the longest driver, by that of a shorter one.

    Attributes:
        longest: frames of the one.
        base: frames of the other.
        peak: of their peaks.
        settled: of what they held towards the end, which loading cannot hide.
    """

    longest: int
    base: int
    peak: float
    settled: float

    @property
    def is_flat(self) -> bool:
        """Whether both are equal within five percent."""
        return max(abs(self.peak - 1), abs(self.settled - 1)) <= MEMORY_TOLERANCE


def by_length(
    lengths: Sequence[int], folder: Path, *, run: Offline = run_offline
) -> list[LengthPoint]:
    """One run for each length, of a portrait of 256 pixels.

    Args:
        lengths: of the drivers, in frames.
        folder: for media.
        run: the command.

    Raises:
        UsageError: a length is not positive, or the command failed.
    """
    portrait = folder / "portrait.jpg"
    scale(packaged_file(*PORTRAIT), portrait, PORTRAIT_SIDE)
    points = []
    for length in lengths:
        driver = _driver(folder, length)
        measured = run(driver, portrait, folder / "result.mp4", [])
        driver.unlink()
        points.append(
            LengthPoint(
                num_frames=length,
                seconds=measured.seconds,
                peak_megabytes=measured.peak_megabytes,
                settled_megabytes=measured.settled_megabytes,
            )
        )
    return points


def by_size(
    sides: Sequence[int],
    folder: Path,
    *,
    num_frames: int = SIZE_FRAMES,
    run: Offline = run_offline,
) -> list[SizePoint]:
    """Two runs for each side: of a single frame, and of some.

    Args:
        sides: of the portraits [px].
        folder: for media.
        num_frames: of the longer run; at least 2.
        run: the command.

    Raises:
        UsageError: there are too few frames, or the command failed.
    """
    if num_frames < 2:
        raise UsageError(f"a rate needs at least 2 frames, got {num_frames}")
    single, several = _driver(folder, 1), _driver(folder, num_frames)
    points = []
    for side in sides:
        portrait = folder / "portrait.jpg"
        scale(packaged_file(*PORTRAIT), portrait, side)
        first = run(single, portrait, folder / "result.mp4", [])
        whole = run(several, portrait, folder / "result.mp4", [])
        points.append(
            SizePoint(
                side_px=side,
                first_s=first.seconds,
                frame_ms=1000 * (whole.seconds - first.seconds) / (num_frames - 1),
                peak_megabytes=max(first.peak_megabytes, whole.peak_megabytes),
            )
        )
    return points


def memory_ratio(points: Sequence[LengthPoint]) -> MemoryRatio | None:
    """The longest driver's memory by that of 500 frames, or of the next shorter one without it.

    None where there is but one length.
    """
    ordered = sorted(points, key=lambda point: point.num_frames)
    if len(ordered) < 2:
        return None
    *shorter, longest = ordered
    base = next((point for point in shorter if point.num_frames == BASE_FRAMES), shorter[-1])
    return MemoryRatio(
        longest=longest.num_frames,
        base=base.num_frames,
        peak=longest.peak_megabytes / base.peak_megabytes,
        settled=longest.settled_megabytes / base.settled_megabytes,
    )


def _driver(folder: Path, num_frames: int) -> Path:
    path = folder / f"driver-{num_frames}.mp4"
    write_looped(packaged_file(*DRIVER), path, num_frames)
    return path
