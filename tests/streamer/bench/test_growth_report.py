"""Tables and picture hold every point, and of the page only what is between the markers changes."""

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from streamer.bench.crowd import CrowdPoint
from streamer.bench.growth import LengthPoint, SizePoint
from streamer.bench.growth_report import (
    BEGIN,
    END,
    Growth,
    as_json,
    panels,
    tables,
    verdict,
    write_docs,
)
from streamer.bench.scale import report
from streamer.errors import UsageError

LENGTHS = (
    LengthPoint(num_frames=500, seconds=25.0, peak_megabytes=800.0, settled_megabytes=600.0),
    LengthPoint(num_frames=10_000, seconds=401.0, peak_megabytes=812.0, settled_megabytes=606.0),
)
GROWTH = Growth(
    lengths=LENGTHS,
    sizes=(SizePoint(side_px=512, first_s=3.0, frame_ms=50.0, peak_megabytes=820.0),),
    sessions=(
        CrowdPoint(
            num_sessions=2, fps=(7.0, 6.0), p50_ms=150.0, p95_ms=math.nan, server_megabytes=900.0
        ),
    ),
    machine="2 × a processor",
    versions={"torch": "2.13"},
    date="2026-11-28",
)


def without(growth: Growth) -> Growth:
    return Growth(
        lengths=LENGTHS[:1],
        sizes=(),
        sessions=(),
        machine=growth.machine,
        versions=growth.versions,
        date=growth.date,
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "growth.md"
    path.write_text(f"# Growth\n\nWhy.\n\n{BEGIN}\nold\n{END}\n\nThe end.\n", "utf-8")
    return path


def test_the_page_gets_the_tables_and_keeps_its_words(page: Path) -> None:
    write_docs(GROWTH, page.parent)
    text = page.read_text("utf-8")
    assert text.startswith(f"# Growth\n\nWhy.\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nThe end.\n")
    assert "old" not in text
    assert "| 10000 | 401.0 | 24.9 | 812 | 606 |" in text
    assert "| 512 | 3.0 | 50.0 | 20.0 | 820 |" in text
    assert "| 2 | 7.0 6.0 | 13.0 | 150 | nan | 900 |" in text
    assert "Memory of 10000 frames by that of 500: 1.015 at the peak, 1.010 towards the end" in text
    assert "; equal within 5 %." in text
    assert "2 × a processor; torch 2.13; 2026-11-28." in text


def test_writing_twice_leaves_one_set_of_tables(page: Path) -> None:
    write_docs(GROWTH, page.parent)
    once = page.read_text("utf-8")
    write_docs(GROWTH, page.parent)
    assert page.read_text("utf-8") == once


def test_the_picture_has_three_panels_a_row(page: Path) -> None:
    write_docs(GROWTH, page.parent)
    root = ElementTree.fromstring((page.parent / "growth.svg").read_text("utf-8"))
    assert len(root) == len(panels(GROWTH)) == 9


def test_only_what_was_measured_is_shown() -> None:
    growth = without(GROWTH)
    assert len(panels(growth)) == 3
    assert [table.title for table in tables(growth)] == ["driver's length, portrait of 256"]


def test_json_has_the_ratio_and_no_nan() -> None:
    told = json.loads(as_json(GROWTH))
    assert told["memory_ratio"] == {
        "longest": 10_000,
        "base": 500,
        "peak": 1.015,
        "settled": 1.01,
    }
    assert told["sessions"][0]["p95_ms"] is None
    assert told["sessions"][0]["fps"] == [7.0, 6.0]
    assert json.loads(as_json(without(GROWTH)))["memory_ratio"] is None


def test_one_length_alone_is_not_judged() -> None:
    assert "needs two lengths" in verdict(None)


def test_a_folder_without_the_page_or_its_markers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        write_docs(GROWTH, tmp_path)
    (tmp_path / "growth.md").write_text(f"# Growth\n{BEGIN}\n", "utf-8")
    with pytest.raises(UsageError, match="lacks the lines"):
        write_docs(GROWTH, tmp_path)
    assert not (tmp_path / "growth.svg").exists()


def test_the_projects_own_page_has_the_markers(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "growth.md").write_bytes((repository / "docs" / "growth.md").read_bytes())
    write_docs(GROWTH, tmp_path)
    assert "| 10000 |" in (tmp_path / "growth.md").read_text("utf-8")


def test_all_is_printed_and_written(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(GROWTH, page.parent / "all.json", page.parent)
    told = capsys.readouterr().out
    assert "10000" in told
    assert "1.015 at the peak, 1.010 towards the end; equal within 5 %" in told
    assert json.loads((page.parent / "all.json").read_text("utf-8"))["date"] == "2026-11-28"
