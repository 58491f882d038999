"""Whole runs of preparation: from videos to shards, stopped, resumed, side by side."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from difffae.data import clip_tasks, report
from difffae.data.clip_tasks import VideoTask
from difffae.data.prepare import Preparation, prepare
from difffae.data.quality import ClipLimits
from difffae.data.shards import CannotWriteError, ShardReader
from difffae.data.video import read_clip
from face_media import read_picture, shared_tracker

LIMITS = ClipLimits(min_frames=8, min_sharpness=0.005)


@pytest.fixture
def videos(prepared_videos: tuple[Path, Path]) -> Path:
    return prepared_videos[0]


@pytest.fixture
def alone(prepared_videos: tuple[Path, Path]) -> Path:
    return prepared_videos[1]


def job(folder: Path, output: Path) -> Preparation:
    return Preparation(folder=folder, output=output, stride=3, limits=LIMITS)


def lines(output: Path, result: str) -> list[dict[str, str]]:
    text = (output / "report.jsonl").read_text("utf-8")
    return [line for line in map(json.loads, text.splitlines()) if line.get("result") == result]


def assert_same_samples(one: Path, other: Path) -> None:
    """The same shards with the same samples; safetensors orders its header as it likes."""
    names = sorted(path.name for path in one.glob("frames-*"))
    assert names == sorted(path.name for path in other.glob("frames-*"))
    first, second = ShardReader(one, "frames"), ShardReader(other, "frames")
    assert len(first) == len(second)
    for name in ("person", "clip"):
        assert first.labels(name) == second.labels(name)
    for index in range(len(first)):
        a, b = first.sample(index), second.sample(index)
        assert a.pictures == b.pictures
        assert all(np.array_equal(array, b.arrays[name]) for name, array in a.arrays.items())


def test_videos_are_cut_where_the_shot_changes_and_crops_are_taken_whole(alone: Path) -> None:
    reader = ShardReader(alone, "frames")
    counts: dict[tuple[str, str], int] = {}
    for label in zip(reader.labels("person"), reader.labels("clip"), strict=True):
        counts[label] = counts.get(label, 0) + 1
    assert counts == {
        ("id9", "id9#v#000000#000006.mp4"): 2,
        ("third", "third#third#000000#000009.mp4"): 3,
        ("two-people", "two-people#two-people#000000#000011.mp4"): 4,
        ("two-people", "two-people#two-people#000012#000021.mp4"): 3,
    }
    (told,) = lines(alone, "rejected")
    assert Path(told["file"]).name == "broken.mp4"


def test_a_cut_clip_shows_the_head_with_its_points_where_they_are(alone: Path) -> None:
    reader = ShardReader(alone, "frames")
    index = reader.labels("person").index("third")
    assert reader.column("frame")[index : index + 3].tolist() == [0, 3, 6]
    image, points = reader.picture("image", index), reader.row("points", index)
    (seen,) = shared_tracker().find_faces(image)
    assert np.abs(points - seen)[:, :2].mean() < 2
    side = float(np.ptp(points[:, :2], axis=0).max())
    assert 256 / side == pytest.approx(2.3, abs=0.25)
    x, y = np.rint(points[1, :2]).astype(int)
    assert reader.picture("person_mask", index)[y, x, 0] > 200


def test_processes_side_by_side_make_the_same_samples(
    videos: Path, alone: Path, tmp_path: Path
) -> None:
    summary = prepare(replace(job(videos, tmp_path), num_workers=2))
    assert (summary.written, summary.rejected) == (4, 1)
    assert_same_samples(alone, tmp_path)
    assert len(lines(tmp_path, "finished")) == len(lines(alone, "finished")) == 4


def test_a_second_run_looks_at_nothing_and_reports_what_is_there(
    videos: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_tasks, "plan_clips", None)
    before = (alone / "report.jsonl").read_text("utf-8")
    summary = prepare(job(videos, alone))
    assert (summary.written, summary.kept, summary.rejected) == (0, 4, 0)
    assert (alone / "report.jsonl").read_text("utf-8") == before


def test_a_run_that_is_killed_half_way_goes_on_and_ends_the_same(
    videos: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = VideoTask.run

    def killed_at_two_people(self: VideoTask, bench: object) -> object:
        if self.video == "two-people":
            raise KeyboardInterrupt
        return run(self, bench)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(VideoTask, "run", killed_at_two_people)
        with pytest.raises(KeyboardInterrupt):
            prepare(job(videos, tmp_path))
    assert len(list(tmp_path.glob("frames-*"))) == 2
    summary = prepare(job(videos, tmp_path))
    assert (summary.written, summary.kept) == (2, 2)
    assert_same_samples(alone, tmp_path)


def test_other_settings_need_another_output(videos: Path, alone: Path) -> None:
    for change, reason in (
        ({"size": 512}, "size 256, not 512"),
        ({"stride": 1}, "stride 3, not 1"),
    ):
        with pytest.raises(ValueError, match=reason):
            prepare(replace(job(videos, alone), **change))  # type: ignore[arg-type]


def test_clips_can_be_videos_of_another_size_and_people_be_folders(
    videos: Path, tmp_path: Path
) -> None:
    (tmp_path / "in" / "carl").mkdir(parents=True)
    (tmp_path / "in" / "carl" / "a.mp4").symlink_to(videos / "third.mp4")
    wanted = replace(
        job(tmp_path / "in", tmp_path / "out"), form="mp4", size=512, is_person_folder=True
    )
    assert prepare(wanted).written == 1
    clip = tmp_path / "out" / "carl#carl-a#000000#000009.mp4"
    frames = list(read_clip(clip))
    assert len(frames) == 9  # every frame, whatever the stride
    assert frames[0].shape == (512, 512, 3)
    assert len(shared_tracker().find_faces(frames[0])) == 1


def test_points_and_pictures_of_512_fit_one_another(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "third.mp4").symlink_to(videos / "third.mp4")
    assert prepare(replace(job(tmp_path / "in", tmp_path / "out"), size=512, stride=8)).written
    reader = ShardReader(tmp_path / "out", "frames")
    image = reader.picture("image", 0)
    assert image.shape == reader.picture("person_mask", 0).shape == (512, 512, 3)
    (seen,) = shared_tracker().find_faces(image)
    assert np.abs(reader.row("points", 0) - seen)[:, :2].mean() < 4


def test_new_stills_go_to_a_shard_of_their_own_and_old_ones_stay(
    openpeople: list[Path], tmp_path: Path
) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number, path in enumerate(openpeople[:3]):
        cv2.imwrite(str(folder / f"{2 - number}.jpg"), read_picture(path, 300)[..., ::-1])
        prepare(job(folder, output))
    assert sorted(path.name for path in output.glob("frames-*")) == [
        f"frames-stills-in-00000{number}.safetensors" for number in range(3)
    ]
    assert ShardReader(output, "frames").labels("person") == ["2", "1", "0"]
    assert prepare(job(folder, output)).kept == 3


def test_a_full_disk_stops_the_run_with_what_is_finished_kept(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        if "two-people" in path.name:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(tensors, path, metadata)  # type: ignore[arg-type]

    from difffae.data import shards

    real = shards.save_file
    with monkeypatch.context() as patch:
        patch.setattr(shards, "save_file", full)
        with pytest.raises(CannotWriteError, match="No space left on device"):
            prepare(job(videos, tmp_path))
    assert len(list(tmp_path.glob("frames-*"))) == 2
    assert not list(tmp_path.rglob("*.partial"))
    assert prepare(job(videos, tmp_path)).written == 2


def test_a_report_that_cannot_be_written_stops_the_run(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / report.REPORT_NAME).mkdir()
    with pytest.raises(CannotWriteError, match=r"report\.jsonl"):
        prepare(job(videos, tmp_path))
