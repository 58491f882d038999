"""Our models and other people's side by side on this machine: tables and, if asked for, JSON out.

Networks alone: nobody's tracking, rendering and pasting is timed. Not quality either: the others
make other pictures, LivePortrait such of 512 x 512 pixels.
"""

import json as json_text
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from difffae.benchmark.contenders import (
    diffusionrig_contender,
    eager,
    liveportrait_contender,
    shipped,
)
from difffae.benchmark.interleaved import Contender, Figures, PartFigures, measure
from difffae.generator import Placement
from difffae.loading import find_folder
from difffae.runtime.machine import machine_facts, threads_fact
from difffae.runtime.threads import limit_threads

DDIM_STEPS = 50  # the paper's
_STEPS = (1, 2, 4)
_TABLE_WIDTH = 120  # a narrower terminal folds lines rather than cut figures off


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One run of the command.

    Attributes:
        machine: processor, versions and threads.
        load: the system's load, averaged over a minute, before and after.
        figures: of every model; the first is the one that the others are compared with.
    """

    machine: tuple[str, ...]
    load: tuple[float, float]
    figures: tuple[Figures, ...]

    def factor(self, figures: Figures) -> float:
        """How many times as long as the first model's a frame takes."""
        return figures.frame_ms / self.figures[0].frame_ms

    def cpu_factor(self, figures: Figures) -> float:
        """The same of processor time."""
        return figures.frame_cpu_ms / self.figures[0].frame_cpu_ms


def peers(
    model: str = "lite-256",
    paper: Path = Path("configs/paper-256.yaml"),
    rounds: int = 5,
    seconds: float = 0.5,
    threads: int | None = None,
    json: Path | None = None,
) -> None:
    """Print how long networks of our models, of LivePortrait and of DiffusionRig take for a frame.

    Args:
        model: ours, as it ships.
        paper: configuration of the paper's own sizes, run with random weights.
        rounds: how often every network gets its turn; medians are printed.
        seconds: how long a turn lasts at least.
        threads: of PyTorch and OpenVINO; by default as many as this process has cores.
        json: also write all figures here.
    """
    num_threads = threads or len(os.sched_getaffinity(0))
    limit_threads(num_threads)
    contenders = _contenders(model, paper, Placement(num_threads=num_threads))
    comparison = compare(contenders, num_rounds=rounds, share_s=seconds)
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    for line in (*comparison.machine, _load_line(comparison)):
        console.print(line, markup=False, highlight=False)
    console.print(overview(comparison))
    console.print(part_table(comparison))
    if json is not None:
        json.write_text(as_json(comparison), encoding="utf-8")


def compare(contenders: Sequence[Contender], *, num_rounds: int, share_s: float) -> Comparison:
    """Measure models in turns; the first one is what the others are compared with.

    Raises:
        ValueError: there are no rounds.
    """
    before, *_ = os.getloadavg()
    figures = measure(contenders, num_rounds=num_rounds, share_s=share_s)
    after, *_ = os.getloadavg()
    return Comparison(
        machine=(*machine_facts(), threads_fact()), load=(before, after), figures=figures
    )


def _contenders(model: str, paper: Path, placement: Placement) -> list[Contender]:
    folder = find_folder(model)
    return [
        *shipped(folder, _STEPS, placement),
        eager(folder.name, folder / "config.yaml", 1),
        liveportrait_contender(),
        diffusionrig_contender(),
        eager(paper.stem, paper, DDIM_STEPS),
    ]


def overview(comparison: Comparison) -> Table:
    """One row for each model."""
    table = Table(title="networks of one frame", title_justify="left")
    for heading in ("model", "runs"):
        table.add_column(heading, overflow="fold")
    for heading in ("ms a frame", "CPU ms", "frames/s", "parameters", "GFLOPs", "× first", "× CPU"):
        table.add_column(heading, justify="right")
    for figures in comparison.figures:
        table.add_row(
            figures.name,
            figures.runtime,
            f"{figures.frame_ms:,.1f}",
            f"{figures.frame_cpu_ms:,.1f}",
            f"{1000 / figures.frame_ms:,.3g}",
            f"{figures.parameters:,}",
            f"{figures.frame_flops / 1e9:,.1f}",
            f"{comparison.factor(figures):,.1f}",
            f"{comparison.cpu_factor(figures):,.1f}",
        )
    return table


def part_table(comparison: Comparison) -> Table:
    """What was timed of each model, and how often a frame runs it."""
    title = "what was timed: where a frame runs a part often, one run is timed and multiplied"
    table = Table(title=title, title_justify="left")
    for heading in ("model", "part"):
        table.add_column(heading, overflow="fold")
    for heading in (
        "a frame",
        "ms each",
        "CPU ms",
        "runs",
        "parameters",
        "published",
        "GFLOPs each",
    ):
        table.add_column(heading, justify="right")
    for figures in comparison.figures:
        for part in figures.parts:
            table.add_row(figures.name, *_cells(part))
    return table


def _cells(part: PartFigures) -> tuple[str, ...]:
    published = part.published_parameters
    return (
        part.name,
        f"× {part.times_a_frame}" if part.times_a_frame else "once a source",
        f"{part.ms:,.1f}",
        f"{part.cpu_ms:,.1f}",
        str(part.num_runs),
        f"{part.parameters:,}",
        "" if published is None else f"{published / 1e6:,.2f} M",
        f"{part.flops / 1e9:,.2f}",
    )


def as_json(comparison: Comparison) -> str:
    """The comparison as JSON text: the dataclasses' names, and the sums of each model's frame."""
    plain: dict[str, Any] = asdict(comparison)
    for told, figures in zip(plain["figures"], comparison.figures, strict=True):
        told["frame_ms"] = figures.frame_ms
        told["frame_flops"] = figures.frame_flops
        told["parameters"] = figures.parameters
        told["frame_cpu_ms"] = figures.frame_cpu_ms
        told["cpu_factor"] = comparison.cpu_factor(figures)
        told["factor"] = comparison.factor(figures)
    return json_text.dumps(plain, indent=2) + "\n"


def _load_line(comparison: Comparison) -> str:
    before, after = comparison.load
    return (
        f"load of the last minute: {before:.1f} before the first round, {after:.1f} after the last"
    )
