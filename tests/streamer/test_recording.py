import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from signing_media import STATEMENT
from streamer.certificate import SigningSettings, load_credentials
from streamer.errors import OutputError, UsageError
from streamer.provenance import sign_file
from streamer.recording import TIME_BASE, Recorder, RecordingSettings
from streamer.recording_tracks import beside
from streamer.verify import verify
from streamer_media import moving_frames, read_video

SIZE = (96, 64)

KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from streamer.recording import Recorder
recorder = Recorder()
recorder.start(Path(sys.argv[1]), (96, 64))
for index in range(20):
    recorder.add(np.full((64, 96, 3), index, np.uint8), index / 25)
print("recording", flush=True)
sys.stdin.read()
"""


def tone(num_samples: int, rate: int = 48_000, layout: str = "mono") -> AudioFrame:
    """A steady level, which no codec makes silent."""
    samples = (8000 * np.sin(np.arange(num_samples) / 20)).astype(np.int16)
    frame = AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout=layout)
    frame.sample_rate = rate
    return frame


def sound_of(path: Path) -> NDArray[np.float32]:
    """All samples of the first channel, from time 0 on."""
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(parts)


@contextmanager
def file_size_limit(num_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def roomy(**changes: object) -> RecordingSettings:
    """Settings under which no frame of a test is dropped."""
    return RecordingSettings(max_waiting=1000, **changes)  # type: ignore[arg-type]


def test_pictures_keep_the_times_at_which_they_were_shown(tmp_path: Path) -> None:
    times = [100.0, 100.04, 100.041, 100.2, 101.7, 101.7333]
    recorder = Recorder(roomy())
    recorder.start(tmp_path / "r.mp4", SIZE)
    for image, time_s in zip(moving_frames(6), times, strict=True):
        assert recorder.add(image, time_s)
    assert recorder.finish() == tmp_path / "r.mp4"
    images, read = read_video(tmp_path / "r.mp4")
    assert read == [round((time_s - 100.0) * 90_000) * TIME_BASE for time_s in times]
    assert {image.shape for image in images} == {(64, 96, 3)}
    with av.open(str(tmp_path / "r.mp4")) as container:
        assert container.streams.video[0].time_base == Fraction(1, 90_000)
        assert container.duration is not None
        assert container.duration / av.time_base == pytest.approx(1.7333 + 1 / 30, abs=2e-3)


def test_the_pictures_are_those_that_were_given(tmp_path: Path) -> None:
    frames = moving_frames(8)
    recorder = Recorder(roomy(quality=8))
    recorder.start(tmp_path / "r.mp4", SIZE)
    for index, image in enumerate(frames):
        recorder.add(image, index / 25)
    recorder.finish()
    for image, frame in zip(read_video(tmp_path / "r.mp4")[0], frames, strict=True):
        assert np.abs(image.astype(int) - frame).mean() < 4


def test_a_picture_may_be_overwritten_once_it_was_given(tmp_path: Path) -> None:
    picture = np.full((64, 96, 3), 200, np.uint8)
    recorder = Recorder(roomy())
    recorder.start(tmp_path / "r.mp4", SIZE)
    for index in range(5):
        picture[:] = 200
        recorder.add(picture, index / 25)
        picture[:] = 0
    recorder.finish()
    assert min(image.mean() for image in read_video(tmp_path / "r.mp4")[0]) > 190


def test_times_that_do_not_rise_are_dropped_and_counted(tmp_path: Path) -> None:
    recorder = Recorder(roomy())
    recorder.start(tmp_path / "r.mp4", SIZE)
    given = [5.0, 5.1, 5.1, 5.05, 4.0, float("nan"), float("inf"), 5.1000001, 5.2]
    taken = [recorder.add(moving_frames(1)[0], time_s) for time_s in given]
    recorder.finish()
    assert taken == [True, True, False, False, False, False, False, False, True]
    assert recorder.num_dropped == 6
    assert read_video(tmp_path / "r.mp4")[1] == [0, Fraction(1, 10), Fraction(1, 5)]


def test_side_by_side_shows_the_driver_left_in_its_own_shape() -> None:
    picture = np.full((60, 80, 3), 50, np.uint8)
    driver = np.full((20, 80, 3), 200, np.uint8)
    both = beside(picture, driver, (80, 60), True)
    assert both.shape == (60, 160, 3)
    assert (both[:, 80:] == 50).all()
    assert (both[20:40, :80] == 200).all()
    assert (both[:20, :80] == 0).all()
    assert (both[40:, :80] == 0).all()
    assert (beside(picture, None, (80, 60), True)[:, :80] == 0).all()
    assert beside(picture, driver, (80, 60), False).shape == (60, 80, 3)
    assert beside(np.zeros((600, 800, 3), np.uint8), None, (80, 60), False).shape == (60, 80, 3)


def test_a_result_of_another_shape_keeps_it() -> None:
    tall = np.full((60, 20, 3), 50, np.uint8)
    shown = beside(tall, None, (80, 60), False)
    assert (shown[:, 30:50] == 50).all()
    assert (shown[:, :30] == 0).all()
    assert (shown[:, 50:] == 0).all()


def test_a_side_by_side_recording_holds_both_and_odd_sizes_become_even(tmp_path: Path) -> None:
    recorder = Recorder(roomy(is_side_by_side=True))
    recorder.start(tmp_path / "r.mp4", (101, 63))
    for index in range(4):
        recorder.add(
            np.full((63, 101, 3), 60, np.uint8),
            index / 25,
            driver=np.full((126, 202, 3), 180, np.uint8),
        )
    recorder.finish()
    image = read_video(tmp_path / "r.mp4")[0][-1]
    assert image.shape == (64, 202, 3)
    assert abs(float(image[:60, :96].mean()) - 180) < 6
    assert abs(float(image[:60, 106:].mean()) - 60) < 6


def test_the_cameras_frame_is_not_in_a_recording_of_the_result(tmp_path: Path) -> None:
    recorder = Recorder(roomy())
    recorder.start(tmp_path / "r.mp4", SIZE)
    for index in range(3):
        picture, driver = np.full((64, 96, 3), 60, np.uint8), np.full((64, 96, 3), 250, np.uint8)
        recorder.add(picture, index / 25, driver=driver)
    recorder.finish()
    assert max(image.max() for image in read_video(tmp_path / "r.mp4")[0]) < 70


def test_sound_follows_the_pictures_clock_and_gaps_are_silent(tmp_path: Path) -> None:
    recorder = Recorder(roomy(has_sound=True))
    recorder.start(tmp_path / "r.mp4", SIZE)
    assert not recorder.add_audio(tone(960), 10.0)
    for index in range(25):
        recorder.add(moving_frames(25)[index], 10 + index / 25)
    for index in range(50):
        if not 10 <= index < 30:
            assert recorder.add_audio(tone(960), 10 + index / 50)
    recorder.add_audio(tone(960), 10.1)
    recorder.finish()
    level = np.abs(sound_of(tmp_path / "r.mp4"))
    assert len(level) == pytest.approx(48_000, abs=2100)
    assert level[2000:8000].mean() > 0.1
    assert level[12_000:26_000].mean() < 0.01
    assert level[32_000:46_000].mean() > 0.1


def test_sound_of_another_rate_and_without_times_follows_on(tmp_path: Path) -> None:
    recorder = Recorder(roomy(has_sound=True))
    recorder.start(tmp_path / "r.mp4", SIZE)
    for index in range(25):
        recorder.add(moving_frames(25)[index], index / 25)
        recorder.add_audio(tone(640, rate=16_000))
    recorder.finish()
    sound = sound_of(tmp_path / "r.mp4")
    assert len(sound) == pytest.approx(48_000, abs=2100)
    assert np.abs(sound[2000:46_000]).mean() > 0.1


def test_a_sound_track_that_nothing_came_for_does_no_harm(tmp_path: Path) -> None:
    recorder = Recorder(roomy(has_sound=True))
    recorder.start(tmp_path / "r.mp4", SIZE)
    for index in range(5):
        recorder.add(moving_frames(5)[index], index / 25)
    recorder.finish()
    assert len(read_video(tmp_path / "r.mp4")[0]) == 5


def test_the_longest_duration_ends_it_and_says_so(tmp_path: Path) -> None:
    recorder = Recorder(roomy(max_duration_s=0.5))
    recorder.start(tmp_path / "r.mp4", SIZE)
    taken = [recorder.add(moving_frames(1)[0], index / 10) for index in range(10)]
    recorder.finish()
    assert taken == [True] * 6 + [False] * 4
    assert recorder.stop_reason == "it reached its longest duration, 0.5 s"
    assert len(read_video(tmp_path / "r.mp4")[0]) == 6


def test_the_largest_size_ends_it_and_the_file_is_whole(tmp_path: Path) -> None:
    recorder = Recorder(roomy(max_bytes=20_000, quality=1))
    recorder.start(tmp_path / "r.mp4", SIZE)
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    for index in range(60):
        recorder.add(np.roll(noise, index, axis=0), index / 25)
    recorder.finish()
    assert not recorder.add(noise, 100.0)
    assert 20_000 < (tmp_path / "r.mp4").stat().st_size < 60_000
    assert recorder.stop_reason == "it reached its largest size, 20000 bytes"
    assert 0 < len(read_video(tmp_path / "r.mp4")[0]) == recorder.num_written < 60


def test_a_full_queue_drops_and_counts_instead_of_waiting(tmp_path: Path) -> None:
    recorder = Recorder(RecordingSettings(max_waiting=1))
    recorder.start(tmp_path / "r.mp4", (640, 480))
    picture = np.zeros((480, 640, 3), np.uint8)
    taken = [recorder.add(picture, index / 1000) for index in range(200)]
    recorder.finish()
    assert not all(taken)
    assert recorder.num_dropped == taken.count(False)
    assert len(read_video(tmp_path / "r.mp4")[0]) == recorder.num_written == taken.count(True)


def test_a_recording_is_signed_before_it_gets_its_name(tmp_path: Path) -> None:
    seen: list[tuple[bool, str]] = []

    def sign(path: Path) -> None:
        seen.append(((tmp_path / "r.mp4").exists(), path.suffix))
        sign_file(path, STATEMENT, load_credentials(SigningSettings()))

    recorder = Recorder(roomy(), sign=sign)
    recorder.start(tmp_path / "r.mp4", SIZE)
    for index in range(5):
        recorder.add(moving_frames(5)[index], index / 30)
    assert verify(recorder.finish()).is_good
    assert seen == [(False, ".unfinished")]
    assert [path.name for path in tmp_path.iterdir()] == ["r.mp4"]


def test_what_cannot_be_signed_is_not_kept(tmp_path: Path) -> None:
    def sign(path: Path) -> None:
        raise UsageError("the certificate cannot sign: expired")

    recorder = Recorder(sign=sign)
    recorder.start(tmp_path / "r.mp4", SIZE)
    recorder.add(moving_frames(1)[0], 0.0)
    with pytest.raises(UsageError, match="expired"):
        recorder.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    recorder = Recorder(roomy(quality=1))
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    with file_size_limit(60_000):
        recorder.start(tmp_path / "r.mp4", SIZE)
        for index in range(60):
            recorder.add(np.roll(noise, 7 * index, axis=1), index / 25)
        with pytest.raises(OutputError, match=r"cannot record .*r\.mp4.* free some space"):
            recorder.finish()
    assert list(tmp_path.iterdir()) == []
    assert recorder.stop_reason == "it could not be written"
    assert not recorder.add(noise, 99.0)


def test_nothing_shown_leaves_no_file(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.start(tmp_path / "r.mp4", SIZE)
    with pytest.raises(OutputError, match="no picture came"):
        recorder.finish()
    assert list(tmp_path.iterdir()) == []


def test_an_abandoned_recording_leaves_nothing(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.start(tmp_path / "r.mp4", SIZE)
    recorder.add(moving_frames(1)[0], 0.0)
    recorder.abandon()
    recorder.abandon()
    assert list(tmp_path.iterdir()) == []
    assert not recorder.add(moving_frames(1)[0], 1.0)


def test_a_wrong_start_or_end_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "old.mp4").write_text("old", "utf-8")
    with pytest.raises(OutputError, match="exists; choose another name"):
        Recorder().start(tmp_path / "old.mp4", SIZE)
    with pytest.raises(OutputError, match="cannot record in"):
        Recorder().start(tmp_path / "none" / "r.mp4", SIZE)
    with pytest.raises(OutputError, match="start a recording first"):
        Recorder().finish()
    recorder = Recorder()
    recorder.start(tmp_path / "r.mp4", SIZE)
    with pytest.raises(OutputError, match="is being recorded already"):
        recorder.start(tmp_path / "s.mp4", SIZE)
    recorder.abandon()
    assert (tmp_path / "old.mp4").read_text("utf-8") == "old"


def test_a_killed_process_leaves_no_file_under_the_recordings_name(
    tmp_path: Path, repository: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "r.mp4")],
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "recording\n"
        process.kill()
    assert not (tmp_path / "r.mp4").exists()
    recorder = Recorder()
    recorder.start(tmp_path / "r.mp4", SIZE)
    recorder.add(moving_frames(1)[0], 0.0)
    recorder.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["r.mp4"]
