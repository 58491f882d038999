"""What `bench stages` found: figures in; tables, lines and JSON out."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from streamer.bench.frame_run import LABEL, Run

if TYPE_CHECKING:
    from streamer.bench.stages import Asked, NetworkCost, Spread

RATIO_GOAL = 2.0
"""The most that a frame may take of what its arithmetic and its tracker take."""

_UNREADABLE = "not readable"


@dataclass(frozen=True, kw_only=True)
class StagesReport:
    """One run.

    Attributes:
        asked: what was to be measured.
        stages: every stage of a frame, in order; their means add up to the frame.
        frame: whole frames, made one after another.
        single: the run of those.
        overlapped: the product's own way.
        source: the stages of a portrait, once each.
        peak_megabytes: largest resident memory of the process, model and both runs included.
        networks: FLOPs, runtime, time and share of the peak.
        peaks: FLOPs a second of wide 3×3 convolutions, by type and threads.
        tracker_ms: median.
        floor_ms: a frame's FLOPs at the fp32 peak of all cores, and the tracker.
        threads: of one network.
        machine, load, versions: where, how busy it was before, and with what.
    """

    asked: "Asked"
    stages: dict[str, "Spread"]
    frame: "Spread"
    single: Run
    overlapped: Run
    source: dict[str, "Spread"]
    peak_megabytes: float
    networks: tuple["NetworkCost", ...]
    peaks: dict[str, float]
    tracker_ms: float
    floor_ms: float
    threads: int
    machine: str
    load: float
    versions: dict[str, str]

    @property
    def single_ratio(self) -> float:
        """A frame's time, made by itself, by the floor."""
        return self.frame.p50_ms / self.floor_ms

    @property
    def overlapped_ratio(self) -> float:
        """A frame's share of the overlapped run's time, by the floor."""
        return 1000 / self.overlapped.fps / self.floor_ms


def as_json(report: StagesReport) -> str:
    """All figures under the names of the dataclasses, and the ratios."""
    told = asdict(report)
    told["ratio"] = {"single": report.single_ratio, "overlapped": report.overlapped_ratio}
    told["fps"] = {"single": report.single.fps, "overlapped": report.overlapped.fps}
    return json.dumps(told, indent=2) + "\n"


def tables(report: StagesReport) -> Iterator[Table]:
    """The stages of a frame, then the networks."""
    yield _stage_table(report)
    yield _network_table(report)


def lines(report: StagesReport) -> Iterator[str]:
    """What stands below the tables."""
    yield _run_line("one after another", report.single)
    yield _run_line("overlapped, as the offline command works", report.overlapped)
    yield f"finishing the file after the last frame: {report.overlapped.finish_s:.2f} s"
    yield f"peak memory, both runs: {report.peak_megabytes:.0f} MB"
    peaks = (f"{kind} {flops / 1e9:.0f} GFLOP/s" for kind, flops in report.peaks.items())
    yield f"wide 3×3 convolutions in this run: {', '.join(peaks)}"
    yield (
        f"floor of a frame, FLOPs at the fp32 peak and the tracker's {report.tracker_ms:.1f} ms: "
        f"{report.floor_ms:.1f} ms"
    )
    yield (
        f"end to end by floor: {report.overlapped_ratio:.2f} overlapped, "
        f"{report.single_ratio:.2f} one after another; the goal is at most {RATIO_GOAL:g}"
    )
    yield f"{report.machine}; {report.threads} threads a network; load before: {report.load:.1f}"
    yield ", ".join(f"{name} {number}" for name, number in report.versions.items())


def _run_line(name: str, run: Run) -> str:
    joules = run.used.joules
    energy = _UNREADABLE if joules is None else f"{joules / run.num_frames:.2f} a frame"
    cpu_ms = 1000 * run.used.cpu_s / run.num_frames
    return (
        f"{name}: {run.fps:.1f} frames/s, {run.used.cpu_s:.1f} CPU seconds "
        f"({cpu_ms:.1f} ms a frame), joules {energy}"
    )


def _stage_table(report: StagesReport) -> Table:
    asked = report.asked
    title = (
        f"{asked.model}, portrait {asked.size}, {asked.frames} frames, {asked.steps} steps, "
        f"runtime {asked.runtime}, precision {asked.precision}"
    )
    table = Table("stage", title=title)
    for heading in ("p50 ms", "p95 ms", "p99 ms", "calls a frame", "share"):
        table.add_column(heading, justify="right")
    for name, one in report.stages.items():
        calls = one.num_calls / report.single.num_frames
        share = "" if name == LABEL else f"{calls * one.mean_ms / report.frame.mean_ms:.0%}"
        table.add_row(name, *_times(one), f"{calls:g}", share)
    table.add_row("frame", *_times(report.frame), "1", "", end_section=True)
    for name, one in report.source.items():
        table.add_row(f"{name}, once a portrait", *_times(one), "", "")
    return table


def _times(one: "Spread") -> tuple[str, str, str]:
    return f"{one.p50_ms:.2f}", f"{one.p95_ms:.2f}", f"{one.p99_ms:.2f}"


def _network_table(report: StagesReport) -> Table:
    table = Table("network", "runs in", title="networks, beside the convolution peaks of all cores")
    for heading in ("GFLOPs", "calls", "p50 ms", "GFLOP/s", "of fp32", "of bf16"):
        table.add_column(heading, justify="right")
    for one in report.networks:
        table.add_row(
            one.name,
            one.runtime,
            f"{one.flops / 1e9:.2f}",
            f"{one.calls} a {'source' if one.is_of_source else 'frame'}",
            f"{one.p50_ms:.2f}",
            f"{one.flops_a_second / 1e9:.0f}",
            *(f"{one.shares[kind]:.0%}" for kind in ("fp32", "bf16")),
        )
    return table
