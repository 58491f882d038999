from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamer.partial import PartialRun
from streamer.segment import SEGMENT_FRAMES, EncoderSettings, SegmentSeries, SegmentWriter, View
from streamer.video_file import DriverFrame
from streamer_media import FakeReenacted, moving_frames, read_video

pytestmark = pytest.mark.computes

SETTINGS = EncoderSettings(time_base=Fraction(1, 600), rate=Fraction(25))


def write_segment(path: Path, images: list[Any], pts: list[int]) -> int:
    writer = SegmentWriter(path, SETTINGS)
    for image, when in zip(images, pts, strict=True):
        writer.write(image, when)
    return writer.close()


@pytest.mark.parametrize(
    "colour",
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255), (200, 120, 90)],
)
def test_colours_survive_a_round_trip(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    image = np.full((64, 96, 3), colour, np.uint8)
    write_segment(tmp_path / "s.nut", [image] * 3, [0, 24, 48])
    images, _ = read_video(tmp_path / "s.nut")
    assert np.abs(images[1].astype(int) - colour).max() <= 3


def test_the_stream_is_tagged_as_it_was_converted(tmp_path: Path) -> None:
    write_segment(tmp_path / "s.nut", moving_frames(3), [0, 24, 48])
    with av.open(str(tmp_path / "s.nut")) as container:
        frame = next(container.decode(video=0))
    tags = (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range)
    assert tags == (1, 1, 1, 1)
    assert frame.format.name == "yuv420p"


def test_the_picture_is_close_to_what_went_in(tmp_path: Path) -> None:
    frames = moving_frames(10)
    write_segment(tmp_path / "s.nut", frames, [24 * n for n in range(10)])
    images, _ = read_video(tmp_path / "s.nut")
    error = np.mean([(a.astype(float) - b) ** 2 for a, b in zip(images, frames, strict=True)])
    assert 10 * np.log10(255**2 / error) > 36


@pytest.mark.parametrize(("height", "width"), [(65, 96), (64, 97), (65, 97)])
def test_odd_sizes_grow_by_a_repeated_line(tmp_path: Path, height: int, width: int) -> None:
    image = moving_frames(1, height=height, width=width)[0]
    write_segment(tmp_path / "s.nut", [image], [0])
    images, _ = read_video(tmp_path / "s.nut")
    assert images[0].shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(images[0][:height, :width].astype(int) - image).mean() < 5


@pytest.mark.parametrize(
    "time_base", [Fraction(1, 600), Fraction(1001, 30000), Fraction(1, 90000), Fraction(1, 1000)]
)
def test_time_stamps_are_kept_exactly(tmp_path: Path, time_base: Fraction) -> None:
    pts = [117, 120, 137, 138, 300, 10000]
    writer = SegmentWriter(
        tmp_path / "s.nut", EncoderSettings(time_base=time_base, rate=Fraction(30))
    )
    for image, when in zip(moving_frames(6), pts, strict=True):
        writer.write(image, when)
    writer.close()
    assert read_video(tmp_path / "s.nut")[1] == [when * time_base for when in pts]


def test_the_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.nut"
    writer = SegmentWriter(path, SETTINGS)
    writer.write(moving_frames(1)[0], 0)
    assert not path.exists()
    assert writer.close() == path.stat().st_size
    assert [file.name for file in tmp_path.iterdir()] == ["s.nut"]


def test_an_abandoned_segment_leaves_nothing(tmp_path: Path) -> None:
    for num_frames in (0, 5):
        writer = SegmentWriter(tmp_path / "s.nut", SETTINGS)
        for index, image in enumerate(moving_frames(num_frames)):
            writer.write(image, index)
        writer.abandon()
        assert list(tmp_path.iterdir()) == []


def fill(run: PartialRun, num_frames: int, views: list[View], *, held: int = -1) -> None:
    with SegmentSeries(run, SETTINGS, views) as series:
        for index, image in enumerate(moving_frames(num_frames)):
            frame = DriverFrame(index=index, image=image, pts=24 * index, duration=24)
            mask = np.zeros(image.shape[:2], np.uint8)
            mask[:32] = 255
            reenacted: Any = FakeReenacted(image=255 - image, mask=mask, is_tracked=index != held)
            series.add(frame, reenacted)
        series.finish()


def test_a_series_is_cut_into_equal_segments_and_a_rest(tmp_path: Path) -> None:
    run = PartialRun.create(tmp_path / "p", {})
    fill(run, 2 * SEGMENT_FRAMES + 7, [View.RESULT], held=SEGMENT_FRAMES + 1)
    assert [segment.num_frames for segment in run.segments] == [50, 50, 7]
    assert [segment.num_held for segment in run.segments] == [0, 1, 0]
    assert [segment.end_pts for segment in run.segments] == [50 * 24, 100 * 24, 107 * 24]
    with av.open(str(run.segment_path(1, "result"))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.dts is not None]
    assert [packet.is_keyframe for packet in packets] == [True] + [False] * 49
    assert all(packet.pts == packet.dts for packet in packets)


def test_a_series_left_by_an_error_keeps_full_segments_only(tmp_path: Path) -> None:
    run = PartialRun.create(tmp_path / "p", {})
    image = moving_frames(1)[0]
    mask = np.zeros(image.shape[:2], np.uint8)
    reenacted: Any = FakeReenacted(image=image, mask=mask, is_tracked=True)

    def write_and_break() -> None:
        with SegmentSeries(run, SETTINGS, [View.RESULT, View.MASK]) as series:
            for index in range(70):
                series.add(DriverFrame(index=index, image=image, pts=index, duration=1), reenacted)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_break()
    assert run.num_frames == 50
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "000000.mask.nut",
        "000000.result.nut",
        "manifest.json",
    ]


def test_each_view_shows_what_it_is_called(tmp_path: Path) -> None:
    run = PartialRun.create(tmp_path / "p", {})
    fill(run, 3, [View.RESULT, View.MASK, View.SIDE_BY_SIDE])
    driver = moving_frames(3)[1].astype(int)
    result = read_video(run.segment_path(0, "result"))[0][1].astype(int)
    mask = read_video(run.segment_path(0, "mask"))[0][1].astype(int)
    both = read_video(run.segment_path(0, "side-by-side"))[0][1].astype(int)
    assert np.abs(result - (255 - driver)).mean() < 5
    assert mask[:30].min() > 245
    assert mask[34:].max() < 10
    assert both.shape == (64, 192, 3)
    assert np.abs(both[:, :96] - driver).mean() < 5
    assert np.abs(both[:, 96:] - (255 - driver)).mean() < 5


def test_a_comparison_is_no_taller_than_a_screen_and_keeps_proportions(tmp_path: Path) -> None:
    run = PartialRun.create(tmp_path / "p", {})
    tall = np.full((1600, 800, 3), 200, np.uint8)
    reenacted: Any = FakeReenacted(image=tall, mask=tall[:, :, 0], is_tracked=True)
    frame = DriverFrame(index=0, image=moving_frames(1)[0], pts=0, duration=1)
    with SegmentSeries(run, SETTINGS, [View.SIDE_BY_SIDE]) as series:
        series.add(frame, reenacted)
        series.finish()
    assert read_video(run.segment_path(0, "side-by-side"))[0][0].shape == (720, 1080 + 360, 3)


def test_an_encoder_error_reaches_the_caller_and_stops_the_series(tmp_path: Path) -> None:
    run = PartialRun.create(tmp_path / "p", {})
    image = moving_frames(1)[0]
    reenacted: Any = FakeReenacted(image=image, mask=image[:, :, 0], is_tracked=True)
    run.folder.joinpath("000000.result.nut.unfinished").mkdir()

    def fill_folder() -> None:
        with SegmentSeries(run, SETTINGS, [View.RESULT]) as series:
            for index in range(10):
                series.add(DriverFrame(index=index, image=image, pts=index, duration=1), reenacted)

    with pytest.raises(IsADirectoryError):
        fill_folder()
    assert run.num_frames == 0
