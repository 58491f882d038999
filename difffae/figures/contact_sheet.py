"""The contact sheet drawn and told: all cases as pictures, the worst by measure in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from difffae.arrays import ImageU8
from difffae.figures.contact import Case
from difffae.figures.sheet import Cell, Row, draw_sheet
from difffae.figures.stillness import Stillness

SIDE = 112
FAILURE_SIDE = 160
NUM_WORST = 4
_NOT_MEASURED = "-"


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The cases that are worst by one measure.

    Attributes:
        measure: in words.
        cases: the worst first.
    """

    measure: str
    cases: list[Case]


def find_worst(cases: Sequence[Case]) -> list[Worst]:
    """The cases least like their portrait, and those that least do what was asked for."""
    judged = [case for case in cases if math.isfinite(case.shot.identity)]
    by_identity = sorted(judged, key=lambda case: case.shot.identity)
    asked = [case for case in cases if math.isfinite(case.followed)]
    by_following = sorted(asked, key=lambda case: case.followed)
    return [
        Worst(measure="least like the portrait (identity)", cases=by_identity[:NUM_WORST]),
        Worst(measure="least of what was asked for (followed)", cases=by_following[:NUM_WORST]),
    ]


def draw_driven(rows: Sequence[Sequence[Case]], marked: Sequence[Case]) -> ImageU8:
    """A row a driver: its moments, each beside what the portrait makes of it."""
    drawn = []
    for cases in rows:
        cells = []
        for case in cases:
            cells.append(Cell(image=case.shown, caption=case.topic))
            cells.append(_cell(case, marked))
        heading = f"{cases[0].driver} drives {cases[0].portrait}" if cases else ""
        drawn.append(Row(cells=cells, heading=heading))
    return draw_sheet([row for row in drawn if row.cells], side=SIDE)


def draw_posed(rows: Sequence[Sequence[Case]], marked: Sequence[Case]) -> ImageU8:
    """A row a portrait; above them, who shows the expressions."""
    first = rows[0]
    top = Row(cells=[Cell(), *(Cell(image=case.shown, caption=case.driver) for case in first)])
    drawn = [top]
    for cases in rows:
        own = Cell(image=cases[0].own, caption=cases[0].portrait)
        drawn.append(Row(cells=[own, *(_cell(case, marked) for case in cases)]))
    return draw_sheet(drawn, side=SIDE, headings=["portrait", *(case.topic for case in first)])


def draw_stillness(rows: Sequence[Stillness]) -> ImageU8:
    """Each portrait beside the spread of its pixels over time."""
    cells = []
    for row in rows:
        cells += [Cell(image=row.picture, caption=row.portrait), Cell(image=row.spread)]
    return draw_sheet([Row(cells=cells)], side=FAILURE_SIDE)


def draw_failures(worst: Sequence[Worst]) -> ImageU8:
    """The worst cases: portrait, who drives where that may be seen, output."""
    rows = []
    for each in worst:
        cells = []
        for case in each.cases:
            cells += [
                Cell(image=case.own, caption=case.portrait),
                Cell(image=case.shot.image, caption=f"{case.topic}, {_figures(case)}"),
            ]
        rows.append(Row(cells=cells, heading=each.measure))
    return draw_sheet(rows, side=FAILURE_SIDE)


def _cell(case: Case, marked: Sequence[Case]) -> Cell:
    is_marked = any(case is each for each in marked)
    return Cell(image=case.shot.image, caption=_figures(case), is_marked=is_marked)


def _figures(case: Case) -> str:
    return f"id {_number(case.shot.identity)} f {_number(case.followed)}"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else _NOT_MEASURED


def worst_lines(worst: Sequence[Worst]) -> list[str]:
    """The worst by name, as a Markdown list."""
    lines = []
    for each in worst:
        named = "; ".join(
            f"{case.name} (identity {_number(case.shot.identity)}, followed "
            f"{_number(case.followed)})"
            for case in each.cases
        )
        lines.append(f"- {each.measure}: {named}.")
    return lines


def topic_lines(cases: Sequence[Case]) -> list[str]:
    """Means over the cases of each topic, as a Markdown table."""
    return _means(cases, "topic", [case.topic for case in cases])


def portrait_lines(cases: Sequence[Case]) -> list[str]:
    """Means over the cases of each portrait, as a Markdown table."""
    return _means(cases, "portrait", [case.portrait for case in cases])


def _means(cases: Sequence[Case], heading: str, keys: Sequence[str]) -> list[str]:
    lines = [f"| {heading} | cases | identity | lowest | followed | lowest |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for key in dict.fromkeys(keys):
        chosen = [case for case, own in zip(cases, keys, strict=True) if own == key]
        identities = _finite([case.shot.identity for case in chosen])
        shares = _finite([case.followed for case in chosen])
        figures = [_mean(identities), min(identities, default=math.nan)]
        figures += [_mean(shares), min(shares, default=math.nan)]
        cells = [key, str(len(chosen)), *(_number(value) for value in figures)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
