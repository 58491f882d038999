"""`python -m streamer.bench live`: how late the result is in a real browser, and why."""

import asyncio
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from streamer.bench import counter
from streamer.bench.aiortc_client import watch_loopback
from streamer.bench.chromium_client import watch_page
from streamer.bench.offline import DRIVER, packaged_file
from streamer.bench.processes import cpu_model, cpu_seconds, descendants
from streamer.bench.serving import PASS, RunningServer, running_server
from streamer.bench.timeline import Figures, figures
from streamer.bench.watched import Watched
from streamer.clear_encoder import encoding_clearly
from streamer.errors import UsageError
from streamer.live import Picture

Client = Literal["chromium", "aiortc"]
_PACKAGES = ("difffae-streamer", "aiortc", "av", "aiohttp", "uvloop", "numpy")
_LEAST_S = 6.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be measured; see `live`."""

    engine: str
    delay_ms: float
    seconds: float
    max_side_px: int = 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one run came to.

    Attributes:
        asked: what was to be measured.
        glass: from capture to display; the aiortc client has only this one.
        shown: from the preview's display to the result's; None without a preview.
        received: the receiver's WebRTC statistics.
        jitter_buffer_ms: mean time of a frame in the receiver's jitter buffer; NaN if not told.
        stages_ms: the server's stages, "p50" and "p95" each.
        cpu_s: processor seconds of server, model process and client while it was measured.
        machine, client, versions: where and with what.
    """

    asked: Asked
    glass: Figures
    shown: Figures | None
    received: dict[str, float]
    jitter_buffer_ms: float
    stages_ms: dict[str, dict[str, float]]
    cpu_s: dict[str, float]
    machine: str
    client: str
    versions: dict[str, str]


def live(
    engine: str = PASS,
    delay_ms: float = 0.0,
    seconds: float = 60.0,
    client: Client = "chromium",
    json: Path | None = None,
    max_side_px: int = 0,
) -> None:
    """Run the live server with a numbered camera and print how late its frames come back.

    Args:
        engine: "pass" hands the camera's picture back; else a model's name such as lite-256.
        delay_ms: how long the pass engine takes for a frame.
        seconds: to measure, from the first edited frame; at least 6.
        client: the page in Chromium, or a small one with aiortc.
        json: a file to write all figures to.
        max_side_px: of the portrait; 0 is the server's own choice.
    """
    if not seconds >= _LEAST_S:
        raise UsageError(f"--seconds must be at least {_LEAST_S:g}: two are to warm up")
    asked = Asked(engine=engine, delay_ms=delay_ms, seconds=seconds, max_side_px=max_side_px)
    report = measure(asked, client=client)
    if json is not None:
        json.write_text(_as_json(report), "utf-8")
    out = Console(soft_wrap=True, markup=False, highlight=False)
    out.print(_table(report))
    out.print(f"{report.machine}; {report.client}")
    out.print(", ".join(f"{name} {number}" for name, number in report.versions.items()))


def measure(asked: Asked, *, client: Client) -> Report:
    """Start the server, watch it for a while, end it.

    Raises:
        StreamerError: the server does not start, or no frame comes back.
    """
    clip = packaged_file(*DRIVER)
    paint = counter.painter(clip if clip.is_file() else None)
    return asyncio.run(_measure(asked, client, paint))


async def _measure(asked: Asked, client: Client, paint: Callable[[int], Picture]) -> Report:
    with tempfile.TemporaryDirectory(prefix="bench-live-") as folder:
        options = ["--log_folder", folder, "--max_side_px", str(asked.max_side_px)]
        async with running_server(asked.engine, options, asked.delay_ms / 1000) as server:
            before = _cpu_s(server)
            watched = await _watched(server.address, client, paint, asked.seconds)
            after = _cpu_s(server)
    return _report(watched, asked, {part: after[part] - before[part] for part in before})


async def _watched(
    address: str, client: Client, paint: Callable[[int], Picture], seconds: float
) -> Watched:
    if client == "chromium":
        return await asyncio.to_thread(watch_page, address, paint, seconds)
    with encoding_clearly():  # in half of aiortc's own time, for a client with its own cores
        return await watch_loopback(address, paint, seconds)


def _report(seen: Watched, asked: Asked, cpu_s: dict[str, float]) -> Report:
    emitted = seen.received.get("jitterBufferEmittedCount", 0)
    held_s = seen.received.get("jitterBufferDelay", 0.0)
    return Report(
        asked=asked,
        glass=figures(seen.captured, seen.returned, period=seen.period),
        shown=figures(seen.previewed, seen.returned, period=seen.period)
        if seen.previewed
        else None,
        received=seen.received,
        jitter_buffer_ms=1000 * held_s / emitted if emitted else float("nan"),
        stages_ms=seen.stages_ms,
        cpu_s={**cpu_s, "client": seen.cpu_s},
        machine=cpu_model(),
        client=seen.client,
        versions={name: version(name) for name in _PACKAGES},
    )


def _cpu_s(server: RunningServer) -> dict[str, float]:
    model = sum(cpu_seconds(pid) for pid in descendants(server.pid))
    return {"server": cpu_seconds(server.pid), "model": model}


def _as_json(report: Report) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        return None if isinstance(value, float) and math.isnan(value) else value

    return json.dumps(plain(asdict(report)), indent=2) + "\n"


def _title(asked: Asked) -> str:
    own = f", {asked.delay_ms:g} ms of its own" if asked.engine == PASS else ""
    return f"{asked.engine}{own}, {asked.seconds:g} s"


def _table(report: Report) -> Table:
    table = Table("", "p50", "p95", title=_title(report.asked))
    for name, found in (("capture to display", report.glass), ("preview to result", report.shown)):
        if found is None:
            continue
        for when, window in (
            ("at 5 s", found.early),
            ("at the end", found.late),
            ("all", found.whole),
        ):
            table.add_row(f"{name}, {when}, ms", f"{window.p50_ms:.0f}", f"{window.p95_ms:.0f}")
    for stage, times in report.stages_ms.items():
        table.add_row(f"server: {stage}, ms", *(f"{times[part]:.1f}" for part in ("p50", "p95")))
    frames, buffered_ms = report.glass, report.jitter_buffer_ms
    for label, value in (
        ("delivered, frames/s", f"{frames.fps:.1f}"),
        ("shown / at the camera", f"{frames.num_shown} / {frames.num_sent}"),
        (
            "dropped, reordered, unread",
            f"{frames.num_dropped}, {frames.num_reordered}, {frames.num_unread}",
        ),
        ("freezes, longest gap ms", f"{frames.num_freezes}, {frames.longest_gap_ms:.0f}"),
        ("jitter buffer, ms", "?" if math.isnan(buffered_ms) else f"{buffered_ms:.1f}"),
        *((f"CPU seconds, {part}", f"{spent:.1f}") for part, spent in report.cpu_s.items()),
    ):
        table.add_row(label, value, "")
    return table
