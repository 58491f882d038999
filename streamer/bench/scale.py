"""`python -m streamer.bench scale`: time and memory against length, portrait size and sessions."""

import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from streamer.bench.crowd import by_sessions
from streamer.bench.growth import by_length, by_size, memory_ratio
from streamer.bench.growth_report import Growth, as_json, tables, verdict, write_docs
from streamer.bench.processes import cpu_model

MODEL = "lite-256"
_PACKAGES = ("difffae-streamer", "torch", "openvino", "mediapipe", "aiortc", "av")


def scale(
    frames: tuple[int, ...] = (1, 10, 100, 500, 1000, 10_000),
    sizes: tuple[int, ...] = (256, 512, 1024, 2048, 4096),
    sessions: tuple[int, ...] = (1, 2, 4, 8),
    seconds: float = 20.0,
    json: Path | None = None,
    docs: Path | None = None,
) -> None:
    """Print how time and memory grow; the defaults take tens of minutes on two cores.

    Args:
        frames: lengths of the driver, the demo's clip forth and back.
        sizes: sides of the square portrait in pixels.
        sessions: people on camera at once.
        seconds: to measure each number of sessions for.
        json: a file to write all figures to.
        docs: a folder with growth.md; the picture and the tables are written into it.
    """
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        folder = Path(name)
        growth = Growth(
            lengths=tuple(by_length(frames, folder)),
            sizes=tuple(by_size(sizes, folder)) if sizes else (),
            sessions=tuple(by_sessions(sessions, MODEL, seconds)),
            machine=cpu_model(),
            versions={package: version(package) for package in _PACKAGES},
            date=datetime.now(UTC).date().isoformat(),
        )
    report(growth, json, docs)


def report(growth: Growth, json: Path | None, docs: Path | None) -> None:
    """Print all tables and write what was asked for.

    Raises:
        UsageError: the folder for documents has no page to write into.
    """
    if json is not None:
        json.write_text(as_json(growth), "utf-8")
    out = Console(soft_wrap=True, markup=False, highlight=False)
    for table in tables(growth):
        out.print(table)
    if growth.lengths:
        out.print(verdict(memory_ratio(growth.lengths)))
    out.print(growth.machine)
    if docs is not None:
        write_docs(growth, docs)
