"""The table of figures, as one rich table, as Markdown and as JSON."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from difffae.metrics.motion import SIGNALS, STILL_BELOW
from difffae.metrics.scores import PersonScores, Scores

# heading, field of Scores, decimals
COLUMNS = (
    ("PSNR dB", "psnr_db", 2),
    ("face PSNR", "face_psnr_db", 2),
    ("SSIM", "ssim", 3),
    ("features", "feature_distance", 3),
    ("identity", "identity", 3),
    ("pose °", "pose_error_deg", 2),
    ("expr.", "expression_error", 4),
    ("corr.", "correlation", 3),
    ("change", "change", 2),
)
RELATIVE_COLUMN = "÷ composite"  # feature distance relative to the composite's
NOT_MEASURED = "-"
COMPOSITE_ROW = "composite, no network"


@dataclass(frozen=True, kw_only=True)
class Report:
    """All rows of a run, by protocol ("self", "cross") and then by row name."""

    title: str
    rows: Mapping[str, Mapping[str, PersonScores]]
    settings: Mapping[str, object]
    cases: list[dict[str, str]]  # protocol, source, driver, person


def legend() -> str:
    """How the figures were made, in a few sentences."""
    still = ", ".join(f"{name} {level:g}" for name, level in zip(SIGNALS, STILL_BELOW, strict=True))
    return (
        "Means over frames, then clips, then people (the driver's person). self: the source is "
        "frame 0 of the driver's clip, absolute motion, the truth is the driver's frame. cross: a "
        "source of another person, motion relative to the driver's frame 0. features: SqueezeNet "
        "feature distance. identity: cosine to the true frame (self), to the source (cross). pose: "
        "angle between the rotations since the reference. expr.: mean distance of the mesh's "
        "changes since the reference, in RMS radii of the rigid points. corr.: Pearson, mean over "
        f"the signals that the driver moves by a standard deviation of at least: {still} "
        "(openings in RMS radii, angles in degrees). change: frame to frame, relative to the "
        "driver's own. An output in which no face is found counts as identity 0 and as unmoved."
    )


def _cells(scores: Scores, composite: Scores | None) -> list[str]:
    cells = []
    for _, name, decimals in COLUMNS:
        cells.append(_number(getattr(scores, name), decimals))
        if name == "feature_distance":
            whole = composite.feature_distance if composite else math.nan
            cells.append(_number(scores.feature_distance / whole, 2))
    return cells


def _number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else NOT_MEASURED


def _headings() -> list[str]:
    headings = []
    for heading, name, _ in COLUMNS:
        headings.append(heading)
        if name == "feature_distance":
            headings.append(RELATIVE_COLUMN)
    return headings


def _lines(report: Report) -> list[list[list[str]]]:
    """For each protocol its lines of cells: protocol, row name, figures."""
    sections = []
    for protocol, rows in report.rows.items():
        composite = rows[COMPOSITE_ROW].mean if COMPOSITE_ROW in rows else None
        sections.append(
            [[protocol, name, *_cells(row.mean, composite)] for name, row in rows.items()]
        )
    return sections


def table(report: Report) -> Table:
    """The rich table, a section for each protocol."""
    drawn = Table(title=report.title, caption=legend(), caption_justify="left")
    drawn.add_column("protocol", no_wrap=True)
    drawn.add_column("output", no_wrap=True)
    for heading in _headings():
        drawn.add_column(heading, justify="right", no_wrap=True)
    for section in _lines(report):
        for line in section:
            drawn.add_row(*line)
        drawn.add_section()
    return drawn


def markdown(report: Report) -> str:
    """The same table in Markdown, with the legend below."""
    headings = ["protocol", "output", *_headings()]
    lines = [f"# {report.title}", "", " | ".join(["", *headings, ""]).strip()]
    lines.append("|" + "---|" * 2 + "---:|" * (len(headings) - 2))
    for section in _lines(report):
        lines += [" | ".join(["", *line, ""]).strip() for line in section]
    return "\n".join([*lines, "", legend(), ""])


def _plain(scores: Scores) -> dict[str, object]:
    """JSON has no NaN: not measured is null."""
    values: dict[str, object] = dataclasses.asdict(scores)
    signals = zip(SIGNALS, scores.signals, strict=True)
    values["signals"] = {name: _or_none(value) for name, value in signals}
    return {k: _or_none(v) if isinstance(v, float) else v for k, v in values.items()}


def _or_none(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def as_json(report: Report) -> str:
    """Everything: settings, cases, figures of every row and person."""
    rows = [
        {
            "protocol": protocol,
            "row": name,
            "mean": _plain(row.mean),
            "people": {person: _plain(scores) for person, scores in row.people.items()},
        }
        for protocol, named in report.rows.items()
        for name, row in named.items()
    ]
    document = {
        "title": report.title,
        "settings": dict(report.settings),
        "cases": report.cases,
        "rows": rows,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
