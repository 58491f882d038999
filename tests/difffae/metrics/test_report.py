import io
import json

from rich.console import Console

from difffae.metrics.report import COMPOSITE_ROW, Report, as_json, markdown, table
from difffae.metrics.scores import Scores, by_person


def report() -> Report:
    floor = by_person([("anna", Scores(psnr_db=20.0, feature_distance=2.0, correlation=0.9))])
    model = by_person([("anna", Scores(psnr_db=25.25, feature_distance=1.5, correlation=0.95))])
    unmoved = by_person([("anna", Scores(identity=1.0, correlation=0.0))])
    return Report(
        title="lite-256",
        rows={
            "self": {COMPOSITE_ROW: floor, "lite-256, 1 step": model},
            "cross": {"source, unmoved": unmoved},
        },
        settings={"seed": 3},
        cases=[{"protocol": "self", "source": "a.mp4", "driver": "a.mp4", "person": "anna"}],
    )


def test_markdown_has_a_line_of_figures_for_each_row() -> None:
    lines = markdown(report()).splitlines()
    cells = {line.split(" | ")[1]: line.strip("| ").split(" | ") for line in lines[4:7]}
    assert cells["lite-256, 1 step"][:3] == ["self", "lite-256, 1 step", "25.25"]
    assert cells["lite-256, 1 step"][5:7] == ["1.500", "0.75"]
    assert cells[COMPOSITE_ROW][6] == "1.00"
    assert cells["source, unmoved"][2:] == ["-"] * 5 + ["1.000", "-", "-", "0.000", "-"]
    assert all(line.count("|") == lines[2].count("|") for line in lines[3:7])


def test_the_printed_table_shows_both_protocols_whole() -> None:
    console = Console(file=io.StringIO(), width=140)
    console.print(table(report()))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("÷ composite", "lite-256, 1 step", "source, unmoved", "25.25", "cross"):
        assert text in printed
    assert "…" not in printed


def test_json_keeps_settings_people_and_null_for_what_was_not_measured() -> None:
    document = json.loads(as_json(report()))
    assert document["settings"] == {"seed": 3}
    assert document["cases"][0]["person"] == "anna"
    first, _, last = document["rows"]
    assert (first["protocol"], first["row"]) == ("self", COMPOSITE_ROW)
    assert first["people"]["anna"]["psnr_db"] == 20.0
    assert last["mean"]["psnr_db"] is None
    assert last["mean"]["signals"]["yaw"] is None
