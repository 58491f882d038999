import json
from pathlib import Path

import pytest

from streamer.errors import OutputError, ResumeError
from streamer.partial import PartialRun, Segment, file_hash

MADE_FROM = {"driver": "aa", "strength": "1.0"}


def add_segment(run: PartialRun, *, num_frames: int = 50, num_held: int = 0) -> None:
    path = run.segment_path(len(run.segments), "result")
    path.write_bytes(b"0123456789")
    run.add(Segment(num_frames=num_frames, num_held=num_held, end_pts=7, num_bytes={"result": 10}))


def test_a_resumed_run_has_what_was_finished(tmp_path: Path) -> None:
    run = PartialRun.create(tmp_path / "p", MADE_FROM)
    add_segment(run, num_held=3)
    add_segment(run, num_frames=20, num_held=1)
    again = PartialRun.resume(tmp_path / "p", MADE_FROM)
    assert (again.num_frames, again.num_held, again.is_resumed) == (70, 4, True)
    assert again.segments == run.segments
    assert again.segment_paths("result") == [
        tmp_path / "p" / "000000.result.nut",
        tmp_path / "p" / "000001.result.nut",
    ]


def test_a_segment_of_the_wrong_size_and_all_after_it_are_made_again(tmp_path: Path) -> None:
    run = PartialRun.create(tmp_path / "p", MADE_FROM)
    for _ in range(3):
        add_segment(run)
    run.segment_path(1, "result").write_bytes(b"0123")
    assert PartialRun.resume(tmp_path / "p", MADE_FROM).num_frames == 50


def test_a_changed_option_is_named(tmp_path: Path) -> None:
    PartialRun.create(tmp_path / "p", MADE_FROM)
    with pytest.raises(ResumeError, match="made with another strength; use the same"):
        PartialRun.resume(tmp_path / "p", {"driver": "aa", "strength": "0.5"})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1, "segments": [{"x": 1}]}'])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    run = PartialRun.create(tmp_path / "p", MADE_FROM)
    (run.folder / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(ResumeError, match="is damaged; add --overwrite"):
        PartialRun.resume(tmp_path / "p", MADE_FROM)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    run = PartialRun.create(tmp_path / "p", MADE_FROM)
    manifest = json.loads((run.folder / "manifest.json").read_text("utf-8"))
    (run.folder / "manifest.json").write_text(json.dumps({**manifest, "version": 99}), "utf-8")
    with pytest.raises(ResumeError, match="another version"):
        PartialRun.resume(tmp_path / "p", MADE_FROM)


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(OutputError, match="cannot write in"):
        PartialRun.create(tmp_path / "file" / "p", MADE_FROM)


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    run = PartialRun.create(tmp_path / "p", MADE_FROM)
    add_segment(run)
    run.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_hash_of_a_folder_follows_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").write_text("one", "utf-8")
    first = file_hash(tmp_path / "m")
    (tmp_path / "m" / "a").rename(tmp_path / "m" / "b")
    second = file_hash(tmp_path / "m")
    (tmp_path / "m" / "b").write_text("two", "utf-8")
    assert len({first, second, file_hash(tmp_path / "m")}) == 3
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_hash(tmp_path / "abc").startswith("ba7816bf8f01cfea")
