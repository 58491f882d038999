import resource
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from offline_jobs import interrupt_at, job_for, listing
from streamer.engine import Engine, EngineSettings
from streamer.errors import DriverError, OutputError, PortraitError, ResumeError, StreamerError
from streamer.reenactment import Job, reenact_file
from streamer.segment import SEGMENT_FRAMES, View
from streamer.video_file import VideoReader
from streamer_media import (
    FakeLoader,
    FakeReenactor,
    VideoOptions,
    moving_frames,
    never_load,
    read_video,
    write_video,
)

pytestmark = pytest.mark.computes


def test_the_result_has_the_drivers_frames_and_the_portraits_size(
    driver: Path, source: Path
) -> None:
    before = listing(source.parent)
    summary = reenact_file(job_for(driver, source), load=FakeLoader(FakeReenactor()))
    images, times = read_video(source.with_name("out.mp4"))
    assert times == read_video(driver)[1]
    assert {image.shape for image in images} == {(122, 102, 3)}
    assert (summary.num_frames, summary.num_held, summary.size) == (130, 0, (101, 121))
    assert summary.duration_s == pytest.approx(5.2)
    assert listing(source.parent) == sorted([*before, "out.mp4"])


def test_the_pictures_are_the_models_in_order(driver: Path, source: Path) -> None:
    reenact_file(job_for(driver, source), load=FakeLoader(FakeReenactor()))
    images, _ = read_video(source.with_name("out.mp4"))
    portrait = np.asarray(PillowImage.open(source))
    level, shifts = 0.0, []
    with VideoReader(driver) as reader:
        for frame in reader.frames():
            level = 0.9 * level + 0.1 * float(frame.image.mean())
            shifts.append(round(level))
    for index in (0, 49, 50, 99, 100, 129):
        expected = np.roll(portrait, shifts[index], axis=1).astype(int)
        errors = [
            np.abs(images[index][:121, :101] - np.roll(expected, step, axis=1)).mean()
            for step in (-2, -1, 0, 1, 2)
        ]
        assert int(np.argmin(errors)) == 2
        assert min(errors) < 4


def test_the_same_job_twice_gives_the_same_bytes(driver: Path, source: Path) -> None:
    output = source.with_name("out.mp4")
    job = job_for(driver, source, can_overwrite=True)
    reenact_file(job, load=FakeLoader(FakeReenactor()))
    first = output.read_bytes()
    reenact_file(job, load=FakeLoader(FakeReenactor()))
    assert output.read_bytes() == first


@pytest.mark.parametrize("stop", [3, 55, 77, 129])  # painting is a few frames ahead
def test_an_interrupted_run_resumed_ends_in_the_same_file(
    driver: Path, source: Path, stop: int
) -> None:
    outputs = {View.RESULT: source.with_name("a.mp4"), View.MASK: source.with_name("am.mp4")}
    reenact_file(job_for(driver, source, outputs=outputs), load=FakeLoader(FakeReenactor()))
    outputs = {View.RESULT: source.with_name("b.mp4"), View.MASK: source.with_name("bm.mp4")}
    job = job_for(driver, source, outputs=outputs, can_resume=True)
    with pytest.raises(KeyboardInterrupt):
        reenact_file(job, load=FakeLoader(interrupt_at(stop)))
    assert job.partial_folder.is_dir()
    assert not source.with_name("b.mp4").exists()
    reenactor = FakeReenactor()
    summary = reenact_file(job, load=FakeLoader(reenactor))
    kept = stop // 50 * 50
    assert (summary.num_resumed, summary.num_frames) == (kept, 130)
    assert (reenactor.num_skipped, reenactor.num_reenacted) == (kept, 130 - kept)
    assert source.with_name("b.mp4").read_bytes() == source.with_name("a.mp4").read_bytes()
    assert source.with_name("bm.mp4").read_bytes() == source.with_name("am.mp4").read_bytes()
    assert not job.partial_folder.exists()


def test_a_run_that_died_without_a_word_is_resumed_too(driver: Path, source: Path) -> None:
    job = job_for(driver, source, can_resume=True)
    with pytest.raises(KeyboardInterrupt):
        reenact_file(job, load=FakeLoader(interrupt_at(120)))
    (job.partial_folder / "000002.result.nut.unfinished").write_bytes(b"half a segment")
    (job.partial_folder / "manifest.json.unfinished").write_bytes(b"{")
    assert reenact_file(job, load=FakeLoader(FakeReenactor())).num_resumed == 100


def test_an_unfinished_run_is_not_overwritten_by_chance(driver: Path, source: Path) -> None:
    job = job_for(driver, source)
    with pytest.raises(KeyboardInterrupt):
        reenact_file(job, load=FakeLoader(interrupt_at(60)))
    with pytest.raises(ResumeError, match="add --resume to go on or --overwrite to start again"):
        reenact_file(job, load=never_load)
    summary = reenact_file(replace(job, can_overwrite=True), load=FakeLoader(FakeReenactor()))
    assert summary.num_resumed == 0


def another(job: Job, **controls: object) -> Job:
    changed = job.engine.controls.changed(controls)
    return replace(job, engine=replace(job.engine, controls=changed))


def test_resuming_with_another_option_is_refused(driver: Path, source: Path) -> None:
    job = job_for(driver, source, can_resume=True)
    with pytest.raises(KeyboardInterrupt):
        reenact_file(job, load=FakeLoader(interrupt_at(60)))
    with pytest.raises(ResumeError, match="another strength"):
        reenact_file(another(job, strength=0.5), load=never_load)
    with pytest.raises(ResumeError, match="another yaw"):
        reenact_file(another(job, yaw=5.0), load=never_load)
    write_video(driver, moving_frames(129))
    with pytest.raises(ResumeError, match="another driver"):
        reenact_file(job, load=never_load)
    assert job.partial_folder.is_dir()


def test_variable_frame_rate_is_kept(tmp_path: Path, source: Path) -> None:
    pts = np.cumsum(np.random.default_rng(0).integers(1, 90, 120)).tolist()
    options = VideoOptions(pts=pts, time_base=Fraction(1, 600))
    driver = write_video(tmp_path / "v.mp4", moving_frames(120), options)
    reenact_file(job_for(driver, source), load=FakeLoader(FakeReenactor()))
    assert len(set(np.diff(read_video(driver)[1]).tolist())) > 40
    assert read_video(source.with_name("out.mp4"))[1] == read_video(driver)[1]


def test_sound_goes_to_the_result_and_not_to_the_mask(tmp_path: Path, source: Path) -> None:
    import av

    options = VideoOptions(audio_codec="aac")
    driver = write_video(tmp_path / "v.mp4", moving_frames(30), options)
    outputs = {View.RESULT: tmp_path / "o.mp4", View.MASK: tmp_path / "m.mp4"}
    reenact_file(job_for(driver, source, outputs=outputs), load=FakeLoader(FakeReenactor()))
    with av.open(str(tmp_path / "o.mp4")) as result, av.open(str(tmp_path / "m.mp4")) as mask:
        assert (len(result.streams.audio), len(mask.streams.audio)) == (1, 0)


def test_frames_without_a_face_are_counted_also_over_a_resume(tmp_path: Path, source: Path) -> None:
    frames = moving_frames(110)
    for index in (10, 11, 60, 105):
        frames[index] = np.zeros_like(frames[index])
    driver = write_video(tmp_path / "v.mp4", frames)
    job = job_for(driver, source, can_resume=True)
    with pytest.raises(KeyboardInterrupt):
        reenact_file(job, load=FakeLoader(interrupt_at(102)))
    assert reenact_file(job, load=FakeLoader(FakeReenactor())).num_held == 4


def test_a_driver_without_any_face_is_refused_and_leaves_nothing(
    tmp_path: Path, source: Path
) -> None:
    driver = write_video(tmp_path / "v.mp4", [np.full((64, 96, 3), 90, np.uint8)] * 60)
    before = listing(tmp_path)
    with pytest.raises(DriverError, match="shows no face in any frame"):
        reenact_file(job_for(driver, source), load=FakeLoader(FakeReenactor()))
    assert listing(tmp_path) == before


def test_the_drivers_pixels_never_reach_the_result(tmp_path: Path, model: Path) -> None:
    grey = np.random.default_rng(0).integers(100, 110, (120, 100), dtype=np.uint8)
    PillowImage.fromarray(grey).save(tmp_path / "grey.png")
    red = [np.clip(image + np.array([80, -60, -60]), 0, 255) for image in moving_frames(20)]
    driver = write_video(tmp_path / "v.mp4", [image.astype(np.uint8) for image in red])
    job = job_for(driver, tmp_path / "grey.png")
    reenact_file(job, load=FakeLoader(FakeReenactor()))
    for image in read_video(tmp_path / "out.mp4")[0]:
        assert np.ptp(image.astype(int), axis=2).max() <= 6


def test_a_numbered_reference_is_given_to_the_model(driver: Path, source: Path) -> None:
    seen: list[Any] = []

    class Recording(FakeReenactor):
        def set_reference(self, frame: Any, source: Any, state: Any) -> Any:
            seen.append(frame)
            return super().set_reference(frame, source, state)

    reenact_file(job_for(driver, source, reference=42), load=FakeLoader(Recording()))
    assert np.abs(seen[0].astype(int) - moving_frames(130)[42]).mean() < 6
    with pytest.raises(DriverError, match="has no frame 130; choose one of 0 to 129"):
        reenact_file(job_for(driver, source, reference=130, can_overwrite=True), load=never_load)


def test_an_automatic_reference_looks_at_the_first_ten_seconds(
    tmp_path: Path, source: Path
) -> None:
    frames = moving_frames(30)
    driver = write_video(tmp_path / "v.mp4", frames, VideoOptions(rate=2, time_base=Fraction(1, 2)))
    reenactor = FakeReenactor()
    reenact_file(job_for(driver, source, reference="auto"), load=FakeLoader(reenactor))
    assert len(reenactor.auto_frames) == 20


def test_a_reference_without_a_face_is_refused(tmp_path: Path, source: Path) -> None:
    frames = moving_frames(20)
    frames[5] = np.zeros_like(frames[5])
    driver = write_video(tmp_path / "v.mp4", frames)
    with pytest.raises(DriverError, match=r"no face found in frame 5 of .*v\.mp4; name a frame"):
        reenact_file(job_for(driver, source, reference=5), load=FakeLoader(FakeReenactor()))
    assert not source.with_name("out.mp4.partial").exists()


def test_a_portrait_without_a_face_or_with_two_is_refused(driver: Path, tmp_path: Path) -> None:
    PillowImage.new("RGB", (100, 100), (7, 7, 7)).save(tmp_path / "none.png")
    two = moving_frames(1)[0]
    two[0, 0] = (0, 255, 0)
    PillowImage.fromarray(two).save(tmp_path / "two.png")
    before = listing(tmp_path)
    loader = FakeLoader(FakeReenactor())
    with pytest.raises(PortraitError, match=r"none\.png: no face found"):
        reenact_file(job_for(driver, tmp_path / "none.png"), load=loader)
    with pytest.raises(PortraitError, match=r"two\.png: 2 faces found.*--face N"):
        reenact_file(job_for(driver, tmp_path / "two.png"), load=loader)
    assert listing(tmp_path) == before
    reenact_file(job_for(driver, tmp_path / "two.png", face=2), load=loader)


def test_outputs_are_checked_before_the_model_is_loaded(driver: Path, source: Path) -> None:
    folder = source.parent
    (folder / "there.mp4").write_text("precious", "utf-8")
    (folder / "folder.mp4").mkdir()
    (folder / "file").write_text("x", "utf-8")
    bad = {
        "there.mp4": "exists; add --overwrite",
        "folder.mp4": "is a folder",
        "out.mkv": "is not named .mp4",
        "nowhere/out.mp4": "there is no folder",
        "file/out.mp4": "there is no folder",
        "clip.mp4": "is also an input",
    }
    before = listing(folder)
    for name, sentence in bad.items():
        with pytest.raises(OutputError, match=sentence):
            reenact_file(
                job_for(driver, source, outputs={View.RESULT: folder / name}), load=never_load
            )
    same = {View.RESULT: folder / "a.mp4", View.MASK: folder / "a.mp4"}
    with pytest.raises(OutputError, match="same name"):
        reenact_file(job_for(driver, source, outputs=same), load=never_load)
    assert (folder / "there.mp4").read_text("utf-8") == "precious"
    assert listing(folder) == before


def test_a_folder_that_takes_no_files_is_an_output_error(driver: Path, source: Path) -> None:
    locked = Path("/proc")
    if not locked.is_dir():
        pytest.skip("no /proc: no folder here that refuses files even to root")
    with pytest.raises(OutputError, match="cannot write in /proc"):
        reenact_file(
            job_for(driver, source, outputs={View.RESULT: locked / "out.mp4"}), load=never_load
        )


def test_a_failed_overwrite_keeps_the_old_file(driver: Path, source: Path) -> None:
    output = source.with_name("out.mp4")
    output.write_text("old", "utf-8")
    PillowImage.new("RGB", (100, 100)).save(source)
    with pytest.raises(StreamerError):
        reenact_file(job_for(driver, source, can_overwrite=True), load=FakeLoader(FakeReenactor()))
    assert output.read_text("utf-8") == "old"


def test_a_bug_in_the_model_keeps_finished_segments_and_is_not_hidden(
    driver: Path, source: Path
) -> None:
    def before_frame(count: int) -> None:
        if count == 70:
            raise RuntimeError("a bug")

    job = job_for(driver, source, can_resume=True)
    with pytest.raises(RuntimeError, match="a bug"):
        reenact_file(job, load=FakeLoader(FakeReenactor(before_frame=before_frame)))
    assert reenact_file(job, load=FakeLoader(FakeReenactor())).num_resumed == 50


def test_progress_tells_new_frames_from_those_taken_over(driver: Path, source: Path) -> None:
    job = job_for(driver, source, can_resume=True)
    with pytest.raises(KeyboardInterrupt):
        reenact_file(job, load=FakeLoader(interrupt_at(60)))
    told: list[tuple[int, int | None, bool]] = []
    reenact_file(
        job,
        load=FakeLoader(FakeReenactor()),
        on_frame=lambda done, total, is_new: told.append((done, total, is_new)),
    )
    assert told[0] == (1, 130, False)
    assert told[49:51] == [(50, 130, False), (51, 130, True)]
    assert told[-1] == (130, 130, True)


def test_memory_stays_flat_however_long_the_video(tmp_path: Path, source: Path) -> None:
    driver = write_video(tmp_path / "v.mp4", moving_frames(20, height=240, width=320) * 15)
    pages: list[int] = []

    def on_frame(done: int, total: int | None, is_new: bool) -> None:
        pages.append(int(Path("/proc/self/statm").read_text("utf-8").split()[1]))

    reenact_file(job_for(driver, source), load=FakeLoader(FakeReenactor()), on_frame=on_frame)
    assert len(pages) == 300
    grown = (pages[-1] - pages[100]) * resource.getpagesize()
    assert grown < 100 * 320 * 240 * 3


def test_each_frame_is_given_the_last_ones_trail_within_a_segment(
    driver: Path, source: Path
) -> None:
    """A resumed run begins at a segment: what it paints must not depend on frames before that."""
    reenactor = FakeReenactor()
    job = job_for(driver, source)
    warm = replace(job, engine=replace(job.engine, warm_start=True))
    reenact_file(warm, load=FakeLoader(reenactor))
    expected = [None if index % SEGMENT_FRAMES == 0 else index for index in range(130)]
    assert reenactor.trails == expected


@pytest.mark.parametrize("keeps_source", [True, False])
def test_the_source_comes_from_the_disk_where_that_is_allowed(
    driver: Path, source: Path, keeps_source: bool
) -> None:
    reenactor, asked = FakeReenactor(), []

    def encode_kept(image: Any, *, face: int | None) -> Any:
        asked.append(face)
        return reenactor.encode_source(image, face=face)

    def load(settings: EngineSettings) -> Engine:
        return replace(FakeLoader(reenactor)(settings), encode_kept=encode_kept)

    reenact_file(job_for(driver, source, face=1, keeps_source=keeps_source), load=load)
    assert asked == ([1] if keeps_source else [])
