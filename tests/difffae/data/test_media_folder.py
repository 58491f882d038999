"""What is found in a folder, and under which names."""

import os
from pathlib import Path

import pytest

from difffae.data.clip_tasks import CropTask, VideoTask
from difffae.data.media_folder import clip_tasks, list_media, stills_tasks


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_videos_folders_of_frames_and_stills_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP4", "sub/a.webm", "p#v#0#9.mp4/0000000.png", "x.jpg", "notes.txt")
    media = list_media(tmp_path, tmp_path / "out", None)
    names = [path.relative_to(tmp_path).as_posix() for path in media.clips]
    assert names == ["b.MP4", "p#v#0#9.mp4", "sub/a.webm"]
    assert [path.name for path in media.stills] == ["x.jpg"]


def test_what_was_prepared_before_is_not_prepared_again(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "out/train/p#v#0#9.mp4")
    media = list_media(tmp_path, tmp_path / "out", None)
    assert [path.name for path in media.clips] == ["a.mp4"]


def test_files_are_allowed_by_name_or_by_path(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.mp4", "test/a.mp4", "test/b.mp4")
    media = list_media(tmp_path, tmp_path / "out", frozenset({"test/a.mp4", "b.mp4"}))
    assert [path.relative_to(tmp_path).as_posix() for path in media.clips] == [
        "test/a.mp4",
        "test/b.mp4",
    ]


def test_fomms_names_are_crops_and_others_videos_with_names_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "ann#v#000#009.mp4", "bea/my film.mp4", "ann#x.mp4")
    media = list_media(tmp_path, tmp_path / "out", None)
    tasks, findings = clip_tasks(tmp_path, media.clips, is_person_folder=False)
    assert findings == []
    assert [type(task) for task in tasks] == [CropTask, VideoTask, VideoTask]
    named = [(task.person, task.video) for task in tasks if isinstance(task, VideoTask)]
    assert named == [("ann-x", "ann-x"), ("bea-my-film", "bea-my-film")]
    tasks, _ = clip_tasks(tmp_path, media.clips, is_person_folder=True)
    named = [(task.person, task.video) for task in tasks if isinstance(task, VideoTask)]
    assert named == [("ann-x", "ann-x"), ("bea", "bea-my-film")]


def test_of_two_files_with_the_same_clip_names_the_second_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.mkv", "x/p#v#0#9.mp4", "y/p#v#0#9.mp4")
    media = list_media(tmp_path, tmp_path / "out", None)
    tasks, findings = clip_tasks(tmp_path, media.clips, is_person_folder=False)
    assert [task.path.name for task in tasks] == ["a.mkv", "p#v#0#9.mp4"]
    assert [Path(finding.file).name for finding in findings] == ["a.mp4", "p#v#0#9.mp4"]
    assert all("names of those of" in str(finding.reason) for finding in findings)


def test_stills_go_on_counting_where_they_were(tmp_path: Path) -> None:
    stills = [tmp_path / f"{number}.jpg" for number in range(300)]
    tasks = stills_tasks(stills, tmp_path / "frames-stills-in-", 40)
    assert [(task.shard.name, len(task.paths)) for task in tasks] == [
        ("frames-stills-in-000040.safetensors", 256),
        ("frames-stills-in-000296.safetensors", 44),
    ]


def deny(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let a folder be unreadable, also for root."""
    scan = os.scandir

    def refuse(path: os.PathLike[str]) -> object:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_an_unreadable_subfolder_is_reported_and_the_rest_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.mp4", "secret/b.mp4")
    deny(monkeypatch, tmp_path / "secret")
    media = list_media(tmp_path, tmp_path / "out", None)
    assert [path.name for path in media.clips] == ["a.mp4"]
    (finding,) = media.findings
    assert finding.file == str(tmp_path / "secret")
    assert finding.reason == "folder: Permission denied"


def test_an_unreadable_or_empty_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="no videos and no pictures in"):
        list_media(tmp_path, tmp_path / "out", None)
    deny(monkeypatch, tmp_path)
    with pytest.raises(ValueError, match=r"cannot read the folder .*Permission denied"):
        list_media(tmp_path, tmp_path / "out", None)
