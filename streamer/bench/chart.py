"""Curves in, one SVG of small panels out; each panel has its own axes, logarithmic where it pays.

Text stays text and takes the reader's own colour, so that the picture suits light and dark pages.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

COLUMNS = 3
PANEL_WIDTH, PANEL_HEIGHT = 300, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 30, 40  # around a panel's axes
_COLOURS = ("#2563eb", "#ea580c", "#16a34a", "#9333ea")
_LOG_SPAN = 30  # from there on a linear axis hides the small values
_NUM_TICKS = 4
_CHARACTER_WIDTH = 7  # of the axes' numbers, with room between them
_MIDDLE_GREY = "#888"

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line through points (x, y), with a name for the legend; "" for none."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One diagram.

    Attributes:
        title: what stands above it, with the unit of y.
        x_label: what x is. Its axis is logarithmic, with ticks at the points.
        curves: at least one, of at least one point; x above 0.
    """

    title: str
    x_label: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Values to a share of the way along an axis.

    Attributes:
        least, most: its ends.
        is_log: whether equal ways are equal factors; then both ends are above 0.
    """

    least: float
    most: float
    is_log: bool

    def share(self, value: float) -> float:
        """0 at the lower end, 1 at the upper one."""
        if self.is_log:
            return math.log(value / self.least) / math.log(self.most / self.least)
        return (value - self.least) / (self.most - self.least)

    def ticks(self) -> list[float]:
        """Round values along it: powers of ten, or multiples of 1, 2 or 5 times one."""
        if self.is_log:
            powers = range(math.ceil(math.log10(self.least)), math.floor(math.log10(self.most)) + 1)
            return [10.0**power for power in powers]
        step = _round_step((self.most - self.least) / _NUM_TICKS)
        count = math.floor((self.most - self.least) / step + 1e-9)
        return [self.least + step * number for number in range(count + 1)]


def x_axis(values: Sequence[float]) -> Axis:
    """A logarithmic axis with room at both ends."""
    return Axis(least=min(values) / 1.3, most=max(values) * 1.3, is_log=True)


def y_axis(values: Sequence[float]) -> Axis:
    """From 0 on; logarithmic where the values differ by more than a factor of 30."""
    least, most = min(values), max(values)
    if least > 0 and most / least > _LOG_SPAN:
        return Axis(
            least=10.0 ** math.floor(math.log10(least)),
            most=10.0 ** math.ceil(math.log10(most)),
            is_log=True,
        )
    return Axis(least=0.0, most=1.1 * most if most > 0 else 1.0, is_log=False)


def draw(panels: Sequence[Panel]) -> str:
    """The panels in rows of three, as an SVG file's text.

    Raises:
        ValueError: a panel has no point.
    """
    rows = math.ceil(len(panels) / COLUMNS)
    width, height = COLUMNS * PANEL_WIDTH, rows * PANEL_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="11" '
        f'fill="{_MIDDLE_GREY}">'
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, COLUMNS)
        parts.append(f'<g transform="translate({column * PANEL_WIDTH},{row * PANEL_HEIGHT})">')
        parts += [*_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for curve in panel.curves for point in curve.points if point[1] == point[1]]
    if not points:
        raise ValueError(f"the panel {panel.title!r} got no points; expected at least one")
    across, up = x_axis([x for x, _ in points]), y_axis([y for _, y in points])
    yield _text(_LEFT, 16, panel.title, "start", 'font-weight="bold"')
    yield _text((_LEFT + PANEL_WIDTH - _RIGHT) / 2, PANEL_HEIGHT - 6, panel.x_label, "middle")
    for tick in up.ticks():
        y = _down(up, tick)
        yield _line(_LEFT, y, PANEL_WIDTH - _RIGHT, y, "0.3")
        yield _text(_LEFT - 5, y + 4, _number(tick), "end")
    yield from _x_ticks(across, sorted({x for x, _ in points}))
    for number, curve in enumerate(panel.curves):
        yield from _curve(curve, across, up, _colour(number))
    yield _legend(panel.curves)


def _x_ticks(across: Axis, values: Sequence[float]) -> Iterator[str]:
    """A tick at every value, and its number where the one before leaves room."""
    free = -math.inf
    for value in values:
        x = _right(across, value)
        yield _line(x, PANEL_HEIGHT - _BOTTOM, x, PANEL_HEIGHT - _BOTTOM + 4, "1")
        half = _CHARACTER_WIDTH * len(_number(value)) / 2
        if x - half > free:
            yield _text(x, PANEL_HEIGHT - _BOTTOM + 15, _number(value), "middle")
            free = x + half


def _legend(curves: Sequence[Curve]) -> str:
    """The names of the curves in their colours, beside the title."""
    names = "".join(
        f'<tspan dx="8" style="fill:{_colour(number)}">{escape(curve.name)}</tspan>'
        for number, curve in enumerate(curves)
        if curve.name
    )
    return f'<text x="{PANEL_WIDTH - _RIGHT}" y="16" text-anchor="end">{names}</text>'


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _curve(curve: Curve, across: Axis, up: Axis, colour: str) -> Iterator[str]:
    """A line and its points; a point without a value is left out."""
    places = [(_right(across, x), _down(up, y)) for x, y in curve.points if y == y]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{colour}"/>'


def _right(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (PANEL_WIDTH - _LEFT - _RIGHT)


def _down(axis: Axis, value: float) -> float:
    return PANEL_HEIGHT - _BOTTOM - axis.share(value) * (PANEL_HEIGHT - _TOP - _BOTTOM)


def _round_step(step: float) -> float:
    """The next multiple of 1, 2, 5 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * part for part in (1, 2, 5, 10) if power * part >= step * (1 - 1e-9))


def _number(value: float) -> str:
    return f"{value:g}" if value < 1e6 else f"{value:.0e}"


def _text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, opacity: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{_MIDDLE_GREY}" stroke-opacity="{opacity}"/>'
    )
