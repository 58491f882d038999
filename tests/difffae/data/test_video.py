"""Frames of videos: their order, their times, and what is said of files that are none."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.data.video import UnreadableVideoError, read_at_rate, read_clip

MILLISECOND = Fraction(1, 1000)


def levels_video(path: Path, times_ms: list[int], *, side: int = 32) -> Path:
    """A video whose n-th frame, shown at its time, has the grey level 20 + 5 n."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000, options={"crf": "1"})
        stream.width = stream.height = side
        stream.pix_fmt, stream.time_base = "yuv420p", MILLISECOND
        stream.codec_context.time_base = MILLISECOND
        for number, time in enumerate(times_ms):
            image = np.full((side, side, 3), 20 + 5 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def number_of(image: NDArray[np.uint8]) -> int:
    return round((float(image.mean()) - 20) / 5)


def nearest(times_ms: list[int], rate: float) -> list[int]:
    """By hand: for each tick up to the last frame the frame nearest in time."""
    times = (np.array(times_ms) - times_ms[0]) / 1000
    ticks = np.arange(int(np.floor((times[-1] + 0.5 / rate) * rate - 1e-9)) + 1) / rate
    return [int(np.abs(times - tick).argmin()) for tick in ticks]


@pytest.mark.parametrize(
    "times_ms",
    [
        [40 * n for n in range(12)],  # 25 a second: every frame once
        [20 * n for n in range(24)],  # 50 a second: every other frame
        [100 * n for n in range(6)],  # 10 a second: frames repeat
        [0, 33, 67, 100, 133, 167, 200, 233, 267, 300],  # about 30 a second
        [500, 540, 580, 911, 941, 979, 1300],  # begins late, uneven
    ],
)
def test_each_tick_shows_the_frame_nearest_in_time(tmp_path: Path, times_ms: list[int]) -> None:
    path = levels_video(tmp_path / "a.mp4", times_ms)
    pairs = list(read_at_rate(path, 25.0, lambda _: True))
    assert [tick for tick, _ in pairs] == list(range(len(pairs)))
    assert [number_of(image) for _, image in pairs] == nearest(times_ms, 25.0)


def test_only_wanted_ticks_are_given_under_their_own_numbers(tmp_path: Path) -> None:
    path = levels_video(tmp_path / "a.mp4", [40 * n for n in range(12)])
    pairs = list(read_at_rate(path, 25.0, lambda tick: tick in {3, 7}))
    assert [(tick, number_of(image)) for tick, image in pairs] == [(3, 3), (7, 7)]


def test_pngs_are_read_in_the_order_of_their_names_at_one_a_tick(tmp_path: Path) -> None:
    folder = tmp_path / "a.mp4"
    folder.mkdir()
    for number in (2, 0, 10, 1):
        image = np.zeros((16, 16, 3), np.uint8)
        image[..., 2] = 20 + 5 * number  # red, as OpenCV orders channels
        cv2.imwrite(str(folder / f"{number:07d}.png"), image)
    reds = [int(image[0, 0, 0]) for _, image in read_at_rate(folder, 25.0, lambda _: True)]
    assert reds == [20, 25, 30, 70]


def test_a_video_filmed_upright_is_read_upright(tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    lying = np.zeros((32, 64, 3), np.uint8)
    lying[:, :32] = 200  # bright on the left: on top once turned clockwise
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(lying, format="rgb24")))
        container.mux(stream.encode(None))
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # ISO 14496-12 8.3.2: a quarter turn clockwise
    content[matrix : matrix + 36] = b"".join(
        value.to_bytes(4, "big", signed=True)
        for value in (0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30)
    )
    path.write_bytes(content)
    image = next(read_clip(path))
    assert image.shape == (64, 32, 3)
    assert image[:30].mean() > 180
    assert image[34:].mean() < 20


def sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_files_that_are_no_video_say_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video " * 99, "utf-8")
    (tmp_path / "none.mp4").mkdir()
    sound(tmp_path / "sound.mp4")
    for name, reason in (
        ("empty", "an empty file"),
        ("text", "not a readable video"),
        ("none", "without PNG"),
        ("sound", "it has no video"),
    ):
        with pytest.raises(UnreadableVideoError, match=reason):
            list(read_clip(tmp_path / f"{name}.mp4"))


def test_a_picture_under_a_videos_name_is_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((16, 16, 3), 99, np.uint8))
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    assert len(list(read_clip(tmp_path / "a.mp4"))) == 1


def test_a_video_that_breaks_off_gives_its_frames_and_then_says_so(
    carphone: Path, tmp_path: Path
) -> None:
    mp4 = tmp_path / "cut.mp4"
    with (
        av.open(str(carphone)) as source,
        av.open(str(mp4), "w", container_options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    mp4.write_bytes(mp4.read_bytes()[: mp4.stat().st_size // 2])
    frames = read_clip(mp4)
    got = [next(frames) for _ in range(30)]
    assert np.abs(got[29].astype(int) - list(read_clip(carphone))[29]).max() == 0
    with pytest.raises(
        UnreadableVideoError, match=r"breaks off after \d+ of 120 frames|damaged after"
    ):
        list(frames)
