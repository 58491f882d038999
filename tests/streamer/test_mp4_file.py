from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamer.errors import OutputError
from streamer.mp4_file import Mp4Plan, write_mp4
from streamer.segment import EncoderSettings, SegmentWriter
from streamer_media import VideoOptions, moving_frames, read_video, write_video

pytestmark = pytest.mark.computes


def make_segments(folder: Path, pts: list[list[int]], time_base: Fraction) -> list[Path]:
    images = iter(moving_frames(sum(len(part) for part in pts)))
    paths = []
    for index, part in enumerate(pts):
        path = folder / f"{index}.nut"
        writer = SegmentWriter(path, EncoderSettings(time_base=time_base, rate=Fraction(25)))
        for when in part:
            writer.write(next(images), when)
        writer.close()
        paths.append(path)
    return paths


def make_plan(folder: Path, *, num_frames: int = 60, sound_from: Path | None = None) -> Mp4Plan:
    pts = [list(range(0, 50)), list(range(50, num_frames))]
    return Mp4Plan(
        segments=make_segments(folder, pts, Fraction(1, 25)),
        num_frames=num_frames,
        end_pts=num_frames,
        time_base=Fraction(1, 25),
        sound_from=sound_from,
    )


def tone_hz(path: Path) -> tuple[float, float]:
    """The strongest frequency of a file's sound and its length [s]."""
    with av.open(str(path)) as container:
        parts, rate = [], 1
        for frame in container.decode(audio=0):
            rate = frame.sample_rate
            parts.append(
                frame.to_ndarray().astype(np.float64).reshape(len(frame.layout.channels), -1)[0]
            )
    samples = np.concatenate(parts)
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples)), len(samples) / rate


def test_joined_segments_hold_the_very_packets_that_went_in(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    write_mp4(tmp_path / "o.mp4", plan)
    joined, times = read_video(tmp_path / "o.mp4")
    parts = [image for path in plan.segments for image in read_video(path)[0]]
    assert len(joined) == 60
    for image, part in zip(joined, parts, strict=True):
        np.testing.assert_array_equal(image, part)
    assert times == [Fraction(n, 25) for n in range(60)]


@pytest.mark.parametrize("time_base", [Fraction(1, 600), Fraction(1001, 30000), Fraction(1, 1000)])
def test_uneven_times_late_start_and_last_duration_are_kept(
    tmp_path: Path, time_base: Fraction
) -> None:
    pts = [[117, 120, 137], [138, 300], [10000, 10001, 10450]]
    plan = Mp4Plan(
        segments=make_segments(tmp_path, pts, time_base),
        num_frames=8,
        end_pts=10777,
        time_base=time_base,
        sound_from=None,
    )
    write_mp4(tmp_path / "o.mp4", plan)
    assert read_video(tmp_path / "o.mp4")[1] == [n * time_base for part in pts for n in part]
    with av.open(str(tmp_path / "o.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        last = packets[-1]
        assert last.duration is not None
        assert last.time_base is not None
        assert last.duration * last.time_base == (10777 - 10450) * time_base


def test_the_index_comes_first_and_the_tags_are_there(tmp_path: Path) -> None:
    write_mp4(tmp_path / "o.mp4", make_plan(tmp_path))
    data = (tmp_path / "o.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "o.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)


@pytest.mark.parametrize(
    ("codec", "name", "kept_as"),
    [
        ("aac", "v.mp4", "aac"),
        ("aac", "v.ts", "aac"),
        ("libmp3lame", "v.mp4", "mp3float"),
        ("libopus", "v.mkv", "opus"),
        ("flac", "v.mkv", "flac"),
        ("pcm_s16le", "v.mkv", "aac"),
        ("ac3", "v.mkv", "aac"),
        ("mp2", "v.ts", "aac"),
    ],
)
def test_sound_is_kept(tmp_path: Path, codec: str, name: str, kept_as: str) -> None:
    options = VideoOptions(
        audio_codec=codec,
        audio_rate=48000,
        container="mpegts" if name.endswith(".ts") else None,
    )
    driver = write_video(tmp_path / name, moving_frames(60), options)
    write_mp4(tmp_path / "o.mp4", make_plan(tmp_path, sound_from=driver))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert [stream.codec_context.name for stream in container.streams.audio] == [kept_as]
    frequency, seconds = tone_hz(tmp_path / "o.mp4")
    assert frequency == pytest.approx(440, abs=2)
    assert seconds == pytest.approx(2.4, abs=0.08)


def test_copied_sound_is_not_encoded_again(tmp_path: Path) -> None:
    options = VideoOptions(audio_codec="aac")
    driver = write_video(tmp_path / "v.mp4", moving_frames(60), options)
    write_mp4(tmp_path / "o.mp4", make_plan(tmp_path, sound_from=driver))

    def packets(path: Path) -> list[tuple[int | None, bytes]]:
        with av.open(str(path)) as container:
            return [(p.pts, bytes(p)) for p in container.demux(audio=0) if p.size]

    assert packets(tmp_path / "o.mp4") == packets(driver)


def test_a_silent_driver_gives_a_silent_file(tmp_path: Path) -> None:
    write_mp4(tmp_path / "o.mp4", make_plan(tmp_path))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert not container.streams.audio


def test_a_file_that_lacks_frames_is_not_accepted(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    short = Mp4Plan(
        segments=plan.segments[:1],
        num_frames=60,
        end_pts=60,
        time_base=plan.time_base,
        sound_from=None,
    )
    with pytest.raises(OutputError, match="only 50 of 60 frames"):
        write_mp4(tmp_path / "o.mp4", short)
