"""The figures in the format of the paper's table 1, with the paper's own rows for orientation.

FID, APD, AED, ALD, CSIM; a line for each output. APD, AED, ALD and CSIM are means over frames, then
over videos; APD is in radians. Where FID's own weights are not given, the column bears the
stand-in's name.
"""

import math
from collections.abc import Sequence

from rich.table import Table

from difffae.metrics.report import NOT_MEASURED, Report
from difffae.metrics.scores import Scores

NOT_COMPARABLE = (
    "For orientation only: values of different trackers, embedders or picture sets are not "
    "comparable with one another, and the paper names neither the formulas nor the pairs."
)
# Table 1, tables 2 and 3 of the paper (VoxCeleb1, 256 px): FID, APD, AED, ALD, CSIM.
PAPER_ROWS: tuple[tuple[str, tuple[float, float, float, float, float]], ...] = (
    ("Hou et al.", (49.93, math.nan, math.nan, 0.1931, 0.8962)),
    ("StyleHEAT", (78.59, 0.0425, 0.1947, math.nan, 0.8541)),
    ("DPE", (36.67, 0.0490, 0.1649, math.nan, 0.9253)),
    ("DiffusionRig", (47.10, 0.0232, 0.1727, 0.1404, 0.9196)),
    ("DiffFAE", (31.83, 0.0191, 0.1532, 0.1511, 0.9458)),
    ("DiffFAE, 2 tokens", (38.23, 0.0195, 0.1572, 0.1534, 0.9387)),
    ("DiffFAE, 8 tokens", (35.49, 0.0198, 0.1554, 0.1541, 0.9404)),
    ("DiffFAE, no identity token", (math.nan, math.nan, math.nan, math.nan, 0.9309)),
)
PAPER_TITLE = "The paper's own (tables 1, 2 and 3)"
_DECIMALS = (2, 4, 4, 4, 4)
_MORE_DECIMALS = (3, 3, 2, 4, 4, 4, 2, 3, 4, 3)


def headings(report: Report) -> list[str]:
    """The paper's columns, the first under the name of what it was measured by."""
    frechet = report.instruments.realism_columns[0]
    return [f"{frechet} ↓", "APD rad ↓", "AED ↓", "ALD ↓", "CSIM ↑"]


def more_headings(report: Report) -> list[str]:
    """What the paper's table leaves out."""
    kernel = report.instruments.realism_columns[1]
    temporal = report.instruments.temporal
    return [
        *(f"{kernel} ↓", "± subsets", "APD ° ↓", "jaw rad ↓", "CSIM to target ↑", "LPIPS ↓"),
        *("PSNR dB ↑", "SSIM ↑", f"{temporal} ↓", "face found", "frames", "videos"),
    ]


def _cells(values: Sequence[float], decimals: Sequence[int]) -> list[str]:
    return [
        f"{value:.{places}f}" if math.isfinite(value) else NOT_MEASURED
        for value, places in zip(values, decimals, strict=True)
    ]


def _lines(report: Report) -> list[list[str]]:
    lines = []
    for protocol, rows in report.rows.items():
        for name, row in rows.items():
            realism = report.realism_of(protocol, name)
            scores = row.videos
            values = (realism.frechet, scores.apd_rad, scores.aed, scores.ald, scores.csim)
            lines.append([protocol, name, *_cells(values, _DECIMALS)])
    return lines


def _more(report: Report) -> list[list[str]]:
    lines = []
    for protocol, rows in report.rows.items():
        for name, row in rows.items():
            realism = report.realism_of(protocol, name)
            values = (realism.kernel, realism.kernel_std, *_figures(row.videos, protocol))
            counts = [str(realism.num_outputs or NOT_MEASURED), str(row.num_videos)]
            lines.append([protocol, name, *_cells(values, _MORE_DECIMALS), *counts])
    return lines


def _figures(scores: Scores, protocol: str) -> tuple[float, ...]:
    to_target = scores.identity if protocol == "self" else math.nan
    return (
        *(scores.apd_deg, scores.aed_jaw, to_target, scores.lpips),
        *(scores.psnr_db, scores.ssim, scores.temporal, scores.tracked),
    )


def _markdown(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    ruled = "|" + "---|" * 2 + "---:|" * (len(columns) - 2)
    return [
        f"## {title}",
        "",
        *("| " + " | ".join(cells) + " |" for cells in (columns,)),
        ruled,
        *("| " + " | ".join(cells) + " |" for cells in lines),
        "",
    ]


def _paper_lines() -> list[list[str]]:
    return [["paper", name, *_cells(values, _DECIMALS)] for name, values in PAPER_ROWS]


def markdown_sections(report: Report) -> list[str]:
    """The table, the paper's rows below it, and what the paper's table leaves out."""
    columns = ["protocol", "output", *headings(report)]
    paper = ["source", "method", "FID ↓", "APD ↓", "AED ↓", "ALD ↓", "CSIM ↑"]
    more = ["protocol", "output", *more_headings(report)]
    return [
        *_markdown("In the format of the paper's table 1", columns, _lines(report)),
        *_markdown(PAPER_TITLE, paper, _paper_lines()),
        NOT_COMPARABLE,
        "",
        *_markdown("More figures, means over videos", more, _more(report)),
    ]


def table(report: Report) -> Table:
    """The same as a rich table, the paper's rows in a section of their own."""
    drawn = Table(
        title="In the format of the paper's table 1",
        caption=NOT_COMPARABLE,
        caption_justify="left",
    )
    for column in ("protocol", "output"):
        drawn.add_column(column, no_wrap=True)
    for heading in headings(report):
        drawn.add_column(heading, justify="right", no_wrap=True)
    previous = ""
    for line in _lines(report):
        if previous not in ("", line[0]):
            drawn.add_section()
        previous = line[0]
        drawn.add_row(*line)
    drawn.add_section()
    for line in _paper_lines():
        drawn.add_row(*line, style="dim")
    return drawn
