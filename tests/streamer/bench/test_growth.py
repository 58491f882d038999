"""Each length and each side is one run of the command, and memory is compared with 500 frames."""

from dataclasses import dataclass, field
from pathlib import Path

import av
import pytest
from PIL import Image

from streamer.bench.growth import LengthPoint, by_length, by_size, memory_ratio
from streamer.bench.offline import Measured
from streamer.errors import UsageError

pytestmark = pytest.mark.computes


@dataclass
class Command:
    """Stands in for the offline command: a second, and one more a frame; notes what it was given.

    Attributes:
        given: frames of the driver and side of the portrait, of each run.
    """

    given: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, driver: Path, portrait: Path, output: Path, options: list[str]) -> Measured:
        with av.open(str(driver)) as video, Image.open(portrait) as picture:
            num_frames, side = video.streams.video[0].frames, picture.width
        self.given.append((num_frames, side))
        return Measured(
            seconds=1 + num_frames,
            peak_megabytes=100 + side + num_frames,
            settled_megabytes=side,
        )


def length(num_frames: int, megabytes: float, settled: float = 1) -> LengthPoint:
    return LengthPoint(
        num_frames=num_frames, seconds=1, peak_megabytes=megabytes, settled_megabytes=settled
    )


def test_a_run_for_each_length_whose_driver_is_not_kept(tmp_path: Path, carphone: Path) -> None:
    command = Command()
    points = by_length([1, 30], tmp_path, run=command)
    assert command.given == [(1, 256), (30, 256)]
    assert points == [
        LengthPoint(num_frames=1, seconds=2, peak_megabytes=357, settled_megabytes=256),
        LengthPoint(num_frames=30, seconds=31, peak_megabytes=386, settled_megabytes=256),
    ]
    assert list(tmp_path.glob("*.mp4")) == []


def test_a_frames_price_at_each_side_leaves_the_start_out(tmp_path: Path, carphone: Path) -> None:
    command = Command()
    points = by_size([64, 128], tmp_path, num_frames=5, run=command)
    assert command.given == [(1, 64), (5, 64), (1, 128), (5, 128)]
    assert [(one.side_px, one.first_s, one.frame_ms) for one in points] == [
        (64, 2, 1000),
        (128, 2, 1000),
    ]
    assert [one.peak_megabytes for one in points] == [169, 233]


def test_a_rate_of_a_single_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 2"):
        by_size([64], tmp_path, num_frames=1)


@pytest.mark.parametrize(
    ("megabytes", "is_flat"), [(1040, True), (1060, False), (960, True), (940, False)]
)
def test_memory_of_the_longest_is_compared_with_500_frames(megabytes: float, is_flat: bool) -> None:
    points = [length(10_000, megabytes), length(1000, 10), length(500, 1000), length(1, 7)]
    ratio = memory_ratio(points)
    assert ratio is not None
    assert (ratio.longest, ratio.base) == (10_000, 500)
    assert ratio.peak == pytest.approx(megabytes / 1000)
    assert ratio.is_flat == is_flat


def test_memory_that_grows_below_the_peak_of_loading_is_seen() -> None:
    ratio = memory_ratio([length(500, 900, settled=500), length(10_000, 900, settled=600)])
    assert ratio is not None
    assert (ratio.peak, ratio.settled) == (1, pytest.approx(1.2))
    assert not ratio.is_flat


def test_without_500_frames_the_next_shorter_length_is_compared_with() -> None:
    ratio = memory_ratio([length(1, 7), length(10, 20), length(30, 22)])
    assert ratio is not None
    assert (ratio.base, ratio.peak) == (10, pytest.approx(1.1))


def test_one_length_has_no_ratio() -> None:
    assert memory_ratio([length(1, 7)]) is None
