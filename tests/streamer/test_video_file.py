import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as PillowImage

from streamer.errors import DriverError
from streamer.video_file import (
    DriverFrame,
    VideoReader,
    check_driver,
    first_images,
    read_ahead,
    read_frame,
    work_ahead,
)
from streamer_media import VideoOptions, moving_frames, write_video

pytestmark = pytest.mark.computes


def refusal(path: Path) -> str:
    with pytest.raises(DriverError) as caught:
        check_driver(path)
    return str(caught.value)


def test_frames_come_in_order_with_their_numbers_and_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", moving_frames(40))
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        time_base = reader.info.time_base
    assert [frame.index for frame in frames] == list(range(40))
    assert [frame.pts * time_base for frame in frames] == [Fraction(n, 25) for n in range(40)]
    assert {frame.duration * time_base for frame in frames} == {Fraction(1, 25)}
    errors = [
        np.abs(frame.image.astype(int) - image).mean()
        for frame, image in zip(frames, moving_frames(40), strict=True)
    ]
    assert max(errors) < 6


def test_variable_time_stamps_are_exact(tmp_path: Path) -> None:
    pts = [0, 1, 5, 6, 100, 101, 350, 700]
    options = VideoOptions(pts=pts, time_base=Fraction(1, 600))
    path = write_video(tmp_path / "v.mp4", moving_frames(8), options)
    with VideoReader(path) as reader:
        times = [frame.pts * reader.info.time_base for frame in reader.frames()]
    assert times == [Fraction(n, 600) for n in pts]


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_the_rotation_flag_is_applied(tmp_path: Path, degrees: int, is_mirrored: bool) -> None:
    stored = np.zeros((64, 96, 3), np.uint8)
    stored[:32, :48] = (220, 30, 30)
    stored[32:, :48] = (30, 30, 220)
    options = VideoOptions(rotation_deg=degrees, is_mirrored=is_mirrored)
    path = write_video(tmp_path / "v.mp4", [stored] * 3, options)
    shown = np.rot90(stored, degrees // 90)
    shown = shown[:, ::-1] if is_mirrored else shown
    image = read_frame(path, 1).image
    assert image.shape == shown.shape
    assert np.abs(image.astype(int) - shown).mean() < 6


def test_oblong_pixels_are_made_square(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.sample_aspect_ratio = Fraction(4, 3)
        for image in moving_frames(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    assert read_frame(path, 0).image.shape == (64, 128, 3)


@pytest.mark.parametrize(
    ("colorspace", "color_range", "matrix"), [(1, 1, 1), (5, 1, 5), (1, 2, 1), (6, 2, 5)]
)
def test_colours_follow_the_tags(
    tmp_path: Path, colorspace: int, color_range: int, matrix: int
) -> None:
    colour = np.full((64, 96, 3), (200, 60, 120), np.uint8)
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.colorspace = colorspace
        stream.codec_context.color_range = color_range
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(colour, format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=matrix,
                src_color_range=2,
                dst_color_range=color_range,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert np.abs(read_frame(path, 1).image.astype(int) - colour).max() <= 3


def test_a_transport_streams_clock_starts_at_zero(tmp_path: Path) -> None:
    pts = [250 + n for n in range(30)]
    options = VideoOptions(pts=pts, container="mpegts", time_base=Fraction(1, 25))
    path = write_video(tmp_path / "v.ts", moving_frames(30), options)
    with VideoReader(path) as reader:
        times = [frame.pts * reader.info.time_base for frame in reader.frames()]
    assert times == [Fraction(n, 25) for n in range(30)]


def test_frames_apart_are_those_of_their_moments(tmp_path: Path) -> None:
    pts = [0, 1, 5, 6, 100, 101, 350, 700]
    options = VideoOptions(pts=pts, time_base=Fraction(1, 600))
    path = write_video(tmp_path / "v.mp4", moving_frames(8), options)
    with VideoReader(path) as reader:
        scale = Fraction(1, 600) / reader.info.time_base
        apart = list(reader.frames(apart=95 * scale))
    with VideoReader(path) as reader:
        all_frames = list(reader.frames())
    assert [frame.index for frame in apart] == [0, 4, 6, 7]
    for frame in apart:
        same = all_frames[frame.index]
        assert (frame.pts, frame.duration) == (same.pts, same.duration)
        np.testing.assert_array_equal(frame.image, same.image)


@pytest.mark.parametrize(("rate", "wanted"), [(5, 50), (25, 84), (50, 84)])
def test_first_images_end_after_ten_seconds_and_are_eight_a_second(
    tmp_path: Path, rate: int, wanted: int
) -> None:
    path = write_video(tmp_path / "v.mp4", moving_frames(11 * rate), VideoOptions(rate=rate))
    assert len(list(first_images(path))) == wanted


def test_a_frame_is_found_by_its_number(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", moving_frames(12))
    assert read_frame(path, 7).index == 7
    with pytest.raises(DriverError, match=r"has no frame 12; choose one of 0 to 11"):
        read_frame(path, 12)


def test_the_header_tells_frames_and_sound(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", moving_frames(30), VideoOptions(audio_codec="aac"))
    info = check_driver(path)
    assert (info.num_frames, info.num_audio, info.rate) == (30, 1, 25)


def test_missing_empty_and_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert "there is no video" in refusal(tmp_path / "missing.mp4")
    assert "is empty" in refusal(tmp_path / "empty.mp4")
    assert "is a folder" in refusal(tmp_path)


def test_text_and_pictures_are_no_videos(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("dear diary\n" * 100, "utf-8")
    (tmp_path / "notes.txt").write_text("dear diary\n" * 100, "utf-8")
    PillowImage.fromarray(moving_frames(1)[0]).save(tmp_path / "p.jpg")
    PillowImage.fromarray(moving_frames(1)[0]).save(tmp_path / "p.png")
    for name in ("notes.mp4", "notes.txt", "p.jpg", "p.png"):
        assert "is not a video that can be read" in refusal(tmp_path / name)


def test_a_playlist_cannot_make_the_reader_open_other_files(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", moving_frames(10))
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nv.mp4\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(playlist, "utf-8")
    (tmp_path / "list.mp4").write_text(
        f"ffconcat version 1.0\nfile {tmp_path / 'v.mp4'}\n", "utf-8"
    )
    assert "is not a video that can be read" in refusal(tmp_path / "list.m3u8")
    assert "is not a video that can be read" in refusal(tmp_path / "list.mp4")


@pytest.mark.parametrize("movflags", ["", "+faststart"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.97])
def test_a_truncated_mp4_is_refused(tmp_path: Path, movflags: str, kept: float) -> None:
    whole = write_video(tmp_path / "v.mp4", moving_frames(60), VideoOptions(movflags=movflags))
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * kept)])
    assert "is cut off before its end" in refusal(tmp_path / "cut.mp4")
    assert check_driver(whole).num_frames == 60


def test_a_truncated_matroska_and_avi_are_refused(tmp_path: Path) -> None:
    for name in ("v.mkv", "v.avi"):
        whole = write_video(tmp_path / name, moving_frames(150))
        data = whole.read_bytes()
        (tmp_path / f"cut_{name}").write_bytes(data[: len(data) // 2])
        assert "is cut off before its end" in refusal(tmp_path / f"cut_{name}")
        assert check_driver(whole).num_frames == 150


def test_sound_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 44100), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "holds sound only" in refusal(path)


def test_a_video_of_no_frames_is_refused(tmp_path: Path) -> None:
    assert "has no frames" in refusal(write_video(tmp_path / "v.avi", []))
    assert "holds no video track" in refusal(write_video(tmp_path / "v.mp4", []))


def test_a_reader_can_be_left_early_and_opened_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", moving_frames(20))
    with VideoReader(path) as reader:
        first = next(reader.frames())
    with VideoReader(path) as reader:
        again = next(reader.frames())
    np.testing.assert_array_equal(first.image, again.image)


def test_reading_ahead_gives_the_same_frames_and_the_same_errors(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", moving_frames(20))
    with VideoReader(path) as reader:
        plain = [(frame.index, frame.pts, frame.image.sum()) for frame in reader.frames()]
    with VideoReader(path) as reader:
        ahead = [(f.index, f.pts, f.image.sum()) for f in read_ahead(reader.frames(), "decode")]
    assert ahead == plain
    with VideoReader(path) as reader:
        assert next(read_ahead(reader.frames(), "decode")).index == 0

    def broken() -> Iterator[DriverFrame]:
        yield read_frame(path, 3)
        raise DriverError("no more")

    frames = read_ahead(broken(), "decode")
    assert next(frames).index == 3
    with pytest.raises(DriverError, match="no more"):
        next(frames)


def test_damage_inside_the_stream_is_counted_and_survived(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "v.avi", moving_frames(50), VideoOptions(codec="mpeg4"))
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    whole.write_bytes(bytes(data))
    with VideoReader(whole) as reader:
        num_frames = sum(1 for _ in reader.frames())
    assert 40 <= num_frames <= 50


def test_tasks_are_worked_on_two_at_once_and_their_results_keep_their_order() -> None:
    both = threading.Barrier(2, timeout=20)

    def task(number: int) -> Callable[[], int]:
        def work() -> int:
            both.wait()  # nobody goes on alone
            return number

        return work

    assert list(work_ahead((task(number) for number in range(6)), "work", 2)) == list(range(6))


def test_one_worker_does_one_task_after_another() -> None:
    done: list[int] = []
    tasks: list[Callable[[], None]] = [lambda n=n: done.append(n) for n in range(5)]  # type: ignore[misc]
    assert len(list(work_ahead(tasks, "work", 1))) == 5
    assert done == list(range(5))


def test_a_task_that_fails_does_so_in_its_turn() -> None:
    def fail() -> int:
        raise ZeroDivisionError

    results = work_ahead([lambda: 1, fail, lambda: 3], "work", 2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
