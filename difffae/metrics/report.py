"""The table of figures, as one rich table, as Markdown and as JSON."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.table import Table

from difffae.metrics.edit_matrix import AttributeDistances, EditMatrix, Moved, relative, target
from difffae.metrics.motion import SIGNALS, STILL_BELOW
from difffae.metrics.realism import Realism
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
MOVED_ROW = "composite, dense motion"


@dataclass(frozen=True, kw_only=True)
class InstrumentNames:
    """What measured, by name; None where a figure was not measured.

    Attributes:
        tracker: reads APD, AED and ALD.
        has_jaw: whether its expression ends with a jaw.
        embedder: of CSIM.
        realism: features of FID and KID.
        realism_columns: what the two are called on these features.
        crop: what of the pictures FID and KID see.
        perceptual: network of LPIPS.
        temporal: tLP, or the stand-in's name.
        cross: how the cross protocol is driven.
    """

    tracker: str | None = None
    has_jaw: bool = False
    embedder: str | None = None
    realism: str | None = None
    realism_columns: tuple[str, str] = ("FID", "KID x1000")
    crop: str = "the whole picture."
    perceptual: str | None = None
    temporal: str = "tFD"
    cross: str = "motion relative to the driver's first frame, the source's own light"


@dataclass(frozen=True, kw_only=True)
class Report:
    """All rows of a run.

    Attributes:
        title: of the tables.
        rows: by protocol (self, cross, light, relight) and then by row name.
        settings: of the run.
        cases: protocol, source, driver, person of each.
        instruments: what measured.
        realism: FID and KID by protocol and row.
        edits: the disentanglement matrix; None where that was not measured.
        warnings: what a reader must know before using the figures.
    """

    title: str
    rows: Mapping[str, Mapping[str, PersonScores]]
    settings: Mapping[str, object]
    cases: list[dict[str, str]]
    instruments: InstrumentNames = field(default_factory=InstrumentNames)
    realism: Mapping[str, Mapping[str, Realism]] = field(default_factory=dict)
    edits: EditMatrix | None = None
    warnings: tuple[str, ...] = ()

    def realism_of(self, protocol: str, row: str) -> Realism:
        """FID and KID of a row; NaN where not measured."""
        return self.realism.get(protocol, {}).get(row, Realism())


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


def _plain_fields(value: Realism | AttributeDistances | Moved) -> dict[str, object]:
    fields = dataclasses.asdict(value)
    return {k: _or_none(v) if isinstance(v, float) else v for k, v in fields.items()}


def _plain_edits(edits: EditMatrix) -> dict[str, object]:
    """Every cell with its distance, its share of the natural spread, and its target."""
    spread = dataclasses.asdict(edits.spread)
    rows = {
        row: {
            edit: {
                **{
                    name: {
                        "distance": _or_none(value),
                        "relative": _or_none(relative(value, spread[name])),
                        "target": target(edit, name),
                    }
                    for name, value in dataclasses.asdict(distances).items()
                    if name != "csim"
                },
                "csim": _or_none(distances.csim),
            }
            for edit, distances in by_edit.items()
        }
        for row, by_edit in edits.rows.items()
    }
    return {
        "rows": rows,
        "natural_spread": _plain_fields(edits.spread),
        "moved": {
            row: {edit: _plain_fields(found) for edit, found in by_edit.items()}
            for row, by_edit in edits.moved.items()
        },
        "num_pairs": edits.num_pairs,
        "num_queries": edits.num_queries,
    }


def as_json(report: Report, **extra: object) -> str:
    """Everything: settings, cases, figures of every row and person; `extra` is added as it is."""
    rows = [
        {
            "protocol": protocol,
            "row": name,
            "mean": _plain(row.mean),
            "videos": _plain(row.videos),
            "num_videos": row.num_videos,
            "realism": _plain_fields(report.realism_of(protocol, name)),
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
        "instruments": dataclasses.asdict(report.instruments),
        "disentanglement": None if report.edits is None else _plain_edits(report.edits),
        "warnings": list(report.warnings),
        **extra,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
