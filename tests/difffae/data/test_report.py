"""The report: what it says, and what a later run takes from it."""

import json
import logging
from pathlib import Path

import pytest

from difffae.data.report import REPORT_NAME, Finding, Report
from difffae.data.shards import CannotWriteError

SETTINGS = {"size": 256, "stride": 2}
WRITTEN = Finding(file="/in/a.mp4", result="written", clip="x#a#0#9", output="x#a#0#9.mp4")
DONE = Finding(file="/in/a.mp4", result="finished", stamp="12-34")
REJECTED = Finding(
    file="/in/a.mp4", result="rejected", clip="x#a#9#20", reason="too short", value=11, limit=64
)


def test_findings_are_lines_of_json_without_empty_fields(tmp_path: Path) -> None:
    report = Report(tmp_path, SETTINGS)
    report.add([WRITTEN, REJECTED, DONE])
    lines = [json.loads(line) for line in (tmp_path / REPORT_NAME).read_text("utf-8").splitlines()]
    assert lines[0] == {"settings": SETTINGS}
    assert lines[2] == {
        "file": "/in/a.mp4",
        "result": "rejected",
        "clip": "x#a#9#20",
        "reason": "too short",
        "value": 11.0,
        "limit": 64.0,
    }
    assert str(report.summary()) == "1 written, 0 kept from before, 1 rejected: 1 too short"


def test_a_rejection_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    row = Finding(file="/x/vox.csv", result="rejected", reason="fps 'a' is not a number", row=7)
    with caplog.at_level(logging.WARNING, "difffae.data.report"):
        Report(tmp_path, SETTINGS).add([REJECTED, row])
    assert caplog.messages == [
        "a.mp4 x#a#9#20: too short (11, limit 64), left out",
        "vox.csv line 7: fps 'a' is not a number, left out",
    ]


def test_a_file_is_finished_with_the_same_stamp_and_its_clips_there(tmp_path: Path) -> None:
    Report(tmp_path, SETTINGS).add([WRITTEN, REJECTED, DONE])
    (tmp_path / "x#a#0#9.mp4").touch()
    report = Report(tmp_path, SETTINGS)
    assert report.is_finished("/in/a.mp4", "12-34")
    assert not report.is_finished("/in/a.mp4", "13-34")
    assert not report.is_finished("/in/b.mp4", "12-34")
    report.skip("/in/a.mp4")
    assert report.summary().kept == 1
    (tmp_path / "x#a#0#9.mp4").unlink()
    assert not report.is_finished("/in/a.mp4", "12-34")


def test_without_the_closing_line_a_file_is_done_again(tmp_path: Path) -> None:
    Report(tmp_path, SETTINGS).add([WRITTEN])
    (tmp_path / "x#a#0#9.mp4").touch()
    assert not Report(tmp_path, SETTINGS).is_finished("/in/a.mp4", "12-34")


def test_a_line_that_a_kill_left_half_written_does_no_harm(tmp_path: Path) -> None:
    Report(tmp_path, SETTINGS).add([DONE])
    with (tmp_path / REPORT_NAME).open("a") as file:
        file.write('{"file": "/in/b.mp4", "resu')
    report = Report(tmp_path, SETTINGS)
    assert report.is_finished("/in/a.mp4", "12-34")
    report.add([Finding(file="/in/c.mp4", result="finished", stamp="5-6")])
    assert Report(tmp_path, SETTINGS).is_finished("/in/c.mp4", "5-6")


def test_finished_files_of_a_folder_are_counted_once_each(tmp_path: Path) -> None:
    stills = [Finding(file=f"/in/{k}.jpg", result="finished", stamp="1-1") for k in (1, 2, 2)]
    other = Finding(file="/else/3.jpg", result="finished", stamp="1-1")
    Report(tmp_path, SETTINGS).add([*stills, other, DONE])
    report = Report(tmp_path, SETTINGS)
    assert report.num_finished(Path("/in"), frozenset({".jpg"})) == 2


def test_other_settings_for_the_same_output_are_refused(tmp_path: Path) -> None:
    Report(tmp_path, SETTINGS)
    Report(tmp_path, SETTINGS)
    with pytest.raises(ValueError, match="prepared with stride 2, not 4: give another output"):
        Report(tmp_path, {**SETTINGS, "stride": 4})


def test_an_output_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotWriteError, match=r"cannot write .*report.jsonl"):
        Report(tmp_path / "file" / "out", SETTINGS)
