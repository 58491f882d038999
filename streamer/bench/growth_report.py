"""What `bench scale` found: points in; tables, JSON, Markdown and a picture out."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from streamer.bench.chart import Curve, Panel, draw
from streamer.bench.crowd import CrowdPoint
from streamer.bench.growth import LengthPoint, MemoryRatio, SizePoint, memory_ratio
from streamer.errors import UsageError

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
PICTURE, PAGE = "growth.svg", "growth.md"
_PORTRAIT = "portrait's side, pixels"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """All points of one run; a list that was not asked for is empty.

    Attributes:
        lengths, sizes, sessions: the points.
        machine, versions, date: where, with what and when.
    """

    lengths: tuple[LengthPoint, ...]
    sizes: tuple[SizePoint, ...]
    sessions: tuple[CrowdPoint, ...]
    machine: str
    versions: dict[str, str]
    date: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table as text, to be shown in a terminal or in Markdown."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def grids(growth: Growth) -> Iterator[Grid]:
    """Those of the three tables that have rows."""
    found = (_length_grid(growth.lengths), _size_grid(growth.sizes), _crowd_grid(growth.sessions))
    yield from (grid for grid in found if grid.rows)


def tables(growth: Growth) -> Iterator[Table]:
    """For a terminal."""
    for grid in grids(growth):
        table = Table(title=grid.title)
        for heading in grid.headings:
            table.add_column(heading, justify="right")
        for row in grid.rows:
            table.add_row(*row)
        yield table


def verdict(ratio: MemoryRatio | None) -> str:
    """Whether memory is flat over the length, in one line."""
    if ratio is None:
        return "memory over length: needs two lengths"
    judged = "equal" if ratio.is_flat else "not equal"
    return (
        f"memory of {ratio.longest} frames by that of {ratio.base}: {ratio.peak:.3f} at the peak, "
        f"{ratio.settled:.3f} towards the end; {judged} within 5 %"
    )


def as_json(growth: Growth) -> str:
    """All points under the names of the dataclasses, and the ratio of memories."""
    ratio = memory_ratio(growth.lengths)
    told = {**asdict(growth), "memory_ratio": None if ratio is None else asdict(ratio)}
    return json.dumps(_plain(told), indent=2) + "\n"


def write_docs(growth: Growth, folder: Path) -> None:
    """Write the picture, and the tables between the markers of the page; the rest of it stays.

    Raises:
        UsageError: the folder has no page with both markers.
    """
    page = folder / PAGE
    try:
        text = page.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{page} cannot be read: {error.strerror}") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{page} lacks the lines {BEGIN} and {END}, between which tables go")
    page.write_text(f"{before}{BEGIN}\n\n{_markdown(growth)}\n{END}{after}", "utf-8")
    (folder / PICTURE).write_text(draw(panels(growth)), "utf-8")


def panels(growth: Growth) -> list[Panel]:
    """Three panels for each kind of growth that was measured."""
    found: list[Panel] = []
    if growth.lengths:
        found += _length_panels(growth.lengths)
    if growth.sizes:
        found += _size_panels(growth.sizes)
    if growth.sessions:
        found += _crowd_panels(growth.sessions)
    return found


def _length_panels(points: Sequence[LengthPoint]) -> list[Panel]:
    x = [point.num_frames for point in points]
    memory = {
        "peak": [point.peak_megabytes for point in points],
        "towards the end": [point.settled_megabytes for point in points],
    }
    return [
        _panel("whole run, s", "frames", x, {"": [point.seconds for point in points]}),
        _panel(
            "frames/s, start-up included",
            "frames",
            x,
            {"": [point.num_frames / point.seconds for point in points]},
        ),
        _panel("memory, MB", "frames", x, memory),
    ]


def _size_panels(points: Sequence[SizePoint]) -> list[Panel]:
    x = [point.side_px for point in points]
    return [
        _panel("start to first file, s", _PORTRAIT, x, {"": [point.first_s for point in points]}),
        _panel("further frame, ms", _PORTRAIT, x, {"": [point.frame_ms for point in points]}),
        _panel("peak memory, MB", _PORTRAIT, x, {"": [point.peak_megabytes for point in points]}),
    ]


def _crowd_panels(points: Sequence[CrowdPoint]) -> list[Panel]:
    x = [point.num_sessions for point in points]
    rates = {
        "in all": [point.total_fps for point in points],
        "a session": [point.total_fps / point.num_sessions for point in points],
    }
    latencies = {"p95": [one.p95_ms for one in points], "p50": [one.p50_ms for one in points]}
    memory = {"": [point.server_megabytes for point in points]}
    return [
        _panel("frames/s", "sessions", x, rates),
        _panel("latency, ms", "sessions", x, latencies),
        _panel("server's memory, MB", "sessions", x, memory),
    ]


def _panel(title: str, x_label: str, x: Sequence[int], ys: dict[str, list[float]]) -> Panel:
    curves = (
        Curve(name=name, points=tuple(zip(map(float, x), values, strict=True)))
        for name, values in ys.items()
    )
    return Panel(title=title, x_label=x_label, curves=tuple(curves))


def _length_grid(points: Sequence[LengthPoint]) -> Grid:
    return Grid(
        title="driver's length, portrait of 256",
        headings=("frames", "s", "frames/s", "peak MB", "MB towards the end"),
        rows=tuple(
            (
                str(one.num_frames),
                f"{one.seconds:.1f}",
                f"{one.num_frames / one.seconds:.1f}",
                f"{one.peak_megabytes:.0f}",
                f"{one.settled_megabytes:.0f}",
            )
            for one in points
        ),
    )


def _size_grid(points: Sequence[SizePoint]) -> Grid:
    return Grid(
        title="portrait's side",
        headings=("pixels", "first file s", "further frame ms", "frames/s", "peak MB"),
        rows=tuple(
            (
                str(one.side_px),
                f"{one.first_s:.1f}",
                f"{one.frame_ms:.1f}",
                f"{1000 / one.frame_ms:.1f}" if one.frame_ms > 0 else "?",
                f"{one.peak_megabytes:.0f}",
            )
            for one in points
        ),
    )


def _crowd_grid(points: Sequence[CrowdPoint]) -> Grid:
    return Grid(
        title="sessions at once, clients on the same cores",
        headings=("sessions", "frames/s each", "in all", "p50 ms", "p95 ms", "server MB"),
        rows=tuple(
            (
                str(one.num_sessions),
                " ".join(f"{rate:.1f}" for rate in one.fps),
                f"{one.total_fps:.1f}",
                f"{one.p50_ms:.0f}",
                f"{one.p95_ms:.0f}",
                f"{one.server_megabytes:.0f}",
            )
            for one in points
        ),
    )


def _markdown(growth: Growth) -> str:
    """The tables, the verdict, and where and when they were made."""
    lines: list[str] = []
    for grid in grids(growth):
        lines += [f"**{grid.title}**", "", _row(grid.headings), _row(["---:"] * len(grid.headings))]
        lines += [*map(_row, grid.rows), ""]
    if growth.lengths:
        lines += [f"{verdict(memory_ratio(growth.lengths)).capitalize()}.", ""]
    versions = ", ".join(f"{name} {number}" for name, number in growth.versions.items())
    return "\n".join([*lines, f"{growth.machine}; {versions}; {growth.date}.", ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(value: Any) -> Any:
    """As JSON has it: without NaN."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
