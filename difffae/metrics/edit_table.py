"""The disentanglement matrix as text: a line an edit, a column an attribute."""

import math

from rich.table import Table

from difffae.metrics.edit_matrix import (
    ATTRIBUTES,
    EDITS,
    AttributeDistances,
    EditMatrix,
    relative,
    target,
)

TITLE = "Disentanglement: one attribute taken from the query, all read again"
CAPTION = (
    "Each cell: distance, and in brackets relative to the mean distance of source and query (the "
    "natural spread): 0 is perfect, 1 as far off as another person's picture. * is edited: its "
    "distance is to the query; the others' are to the source. The edit nothing shows the noise of "
    "model and reading. pose in degrees, expression and shape in standard deviations, CSIM raw, to "
    "the source."
)
MOVED_TITLE = "How far each edit goes, and what it takes along"
MOVED_CAPTION = (
    "Against the model's own output when nothing is edited. * is edited: the share of the way from "
    "source to query, 1 all of it. The others: length of their change over the natural spread, the "
    "noise of two readings included. Sums over sums of all pairs; pose in degrees, expression and "
    "shape as the mesh's points move, light by its harmonics. CSIM: by how much the cosine to the "
    "source fell."
)
_DECIMALS = {"pose": 2, "expression": 3, "light": 4, "shape": 3}
_SPREAD = "natural spread"


def headings() -> list[str]:
    """The matrix's columns."""
    return ["output", "edit", "pose ° ↓", "expression ↓", "light ↓", "shape ↓", "CSIM ↑"]


def _cell(edit: str, name: str, distances: AttributeDistances, spread: AttributeDistances) -> str:
    value = float(getattr(distances, name))
    share = relative(value, float(getattr(spread, name)))
    if not math.isfinite(value):
        return "-"
    mark = "*" if target(edit, name) == "query" else ""
    bracket = f"{share:.2f}" if math.isfinite(share) else "-"
    return f"{value:.{_DECIMALS[name]}f} ({bracket}){mark}"


def _csim(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def lines(matrix: EditMatrix) -> list[list[str]]:
    """A line for each row's edit, and the spread last."""
    found = [
        [
            row,
            edit,
            *(_cell(edit, name, distances, matrix.spread) for name in ATTRIBUTES),
            _csim(distances.csim),
        ]
        for row, edits in matrix.rows.items()
        for edit, distances in edits.items()
    ]
    spread = [_cell("nothing", name, matrix.spread, matrix.spread) for name in ATTRIBUTES]
    return [*found, [_SPREAD, "", *spread, _csim(matrix.spread.csim)]]


def moved_headings() -> list[str]:
    """The second table's columns."""
    return ["output", "edit", "pose", "expression", "light", "shape", "CSIM fell"]


def moved_lines(matrix: EditMatrix) -> list[list[str]]:
    """A line for each row's edit."""
    return [
        [
            row,
            edit,
            *(_share(edit, name, float(getattr(found, name))) for name in ATTRIBUTES),
            _csim(found.csim),
        ]
        for row, edits in matrix.moved.items()
        for edit, found in edits.items()
    ]


def _share(edit: str, name: str, value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.2f}" + "*" * (target(edit, name) == "query")


def markdown_sections(matrix: EditMatrix) -> list[str]:
    """Both tables in Markdown."""
    count = f"{matrix.num_pairs} pairs of clips, {matrix.num_queries} queries."
    sections = _section(TITLE, headings(), lines(matrix), f"{CAPTION} {count}")
    if matrix.moved:
        sections += _section(MOVED_TITLE, moved_headings(), moved_lines(matrix), MOVED_CAPTION)
    return sections


def table(matrix: EditMatrix) -> Table:
    """The matrix as a rich table, a section for each row."""
    return _drawn((TITLE, CAPTION), headings(), lines(matrix), num_edits=len(EDITS))


def moved_table(matrix: EditMatrix) -> Table:
    """How far edits go as a rich table, a section for each row."""
    titles = (MOVED_TITLE, MOVED_CAPTION)
    return _drawn(titles, moved_headings(), moved_lines(matrix), num_edits=len(EDITS) - 1)


def _section(title: str, columns: list[str], body: list[list[str]], caption: str) -> list[str]:
    return [
        f"## {title}",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * 2 + "---:|" * (len(columns) - 2),
        *("| " + " | ".join(line) + " |" for line in body),
        "",
        caption,
        "",
    ]


def _drawn(
    titles: tuple[str, str], columns: list[str], body: list[list[str]], *, num_edits: int
) -> Table:
    title, caption = titles
    drawn = Table(title=title, caption=caption, caption_justify="left")
    for index, heading in enumerate(columns):
        drawn.add_column(heading, justify="left" if index < 2 else "right", no_wrap=True)
    for index, line in enumerate(body):
        if index and index % num_edits == 0:
            drawn.add_section()
        drawn.add_row(*line)
    return drawn
