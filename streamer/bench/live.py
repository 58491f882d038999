"""`python -m streamer.bench live`: how late the result is in a real browser, and why."""

import json
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from streamer.bench import counter
from streamer.bench.aiortc_client import watch_loopback
from streamer.bench.chromium_client import Seen, watch_page
from streamer.bench.live_server import PASS, Served, serving
from streamer.bench.offline import DRIVER, packaged_file
from streamer.bench.processes import cpu_model, cpu_seconds, descendants
from streamer.bench.timeline import Figures, figures
from streamer.errors import UsageError

Client = Literal["chromium", "aiortc"]
PERIOD = 900
_PACKAGES = ("difffae-streamer", "aiortc", "av", "aiohttp", "uvloop", "numpy")
_LEAST_S = 6.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one run came to.

    Attributes:
        engine, delay_ms, seconds: as asked.
        glass: from capture to display; the aiortc client has only this one.
        shown: from the preview's display to the result's; None without a preview.
        received: the receiver's WebRTC statistics.
        jitter_buffer_ms: mean time of a frame in the receiver's jitter buffer; NaN if not told.
        stages_ms: the server's stages, "p50" and "p95" each.
        cpu_s: processor seconds of server, model process and client while it was measured.
        machine, client, versions: where and with what.
    """

    engine: str
    delay_ms: float
    seconds: float
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
    driver: Path | None = None,
) -> None:
    """Run the live server with a numbered camera and print how late its frames come back.

    Args:
        engine: "pass" hands the camera's picture back; else a model's name such as lite-256.
        delay_ms: how long the pass engine takes for a frame.
        seconds: to measure, from the first edited frame; at least 6.
        client: the page in Chromium, or a small one with aiortc.
        json: a file to write all figures to.
        driver: the video under the numbers; by default the demo's talking man.
    """
    if not seconds >= _LEAST_S:
        raise UsageError(f"--seconds must be at least {_LEAST_S:g}: two are to warm up")
    report = measure(engine, delay_ms, seconds, client=client, driver=driver)
    if json is not None:
        json.write_text(_as_json(report), "utf-8")
    out = Console(soft_wrap=True, markup=False, highlight=False)
    out.print(_table(report))
    out.print(f"{report.machine}; {report.client}")
    out.print(", ".join(f"{name} {number}" for name, number in report.versions.items()))


def measure(
    engine: str, delay_ms: float, seconds: float, *, client: Client, driver: Path | None = None
) -> Report:
    """Start the server, watch it for a while, end it.

    Raises:
        StreamerError: the server does not start, or no frame comes back.
    """
    clip = driver or packaged_file(*DRIVER)
    with tempfile.TemporaryDirectory(prefix="bench-live-") as name:
        folder = Path(name)
        camera = folder / "camera.mjpeg"
        counter.write_camera(camera, counter.numbered(PERIOD, clip if clip.is_file() else None))
        with serving(engine, delay_ms / 1000, folder) as served:
            before = _cpu_s(served)
            watch = watch_page if client == "chromium" else watch_loopback
            seen = watch(served.url, camera, seconds)
            after = _cpu_s(served)
    cpu_s = {part: round(after[part] - before[part], 2) for part in before}
    return _report(seen, (engine, delay_ms, seconds), {**cpu_s, "client": round(seen.cpu_s, 2)})


def _report(seen: Seen, asked: tuple[str, float, float], cpu_s: dict[str, float]) -> Report:
    emitted = seen.received.get("jitterBufferEmittedCount", 0)
    held_s = seen.received.get("jitterBufferDelay", 0.0)
    return Report(
        engine=asked[0],
        delay_ms=asked[1],
        seconds=asked[2],
        glass=figures(seen.captured, seen.returned, period=PERIOD),
        shown=figures(seen.previewed, seen.returned, period=PERIOD) if seen.previewed else None,
        received=seen.received,
        jitter_buffer_ms=1000 * held_s / emitted if emitted else float("nan"),
        stages_ms=seen.stages_ms,
        cpu_s=cpu_s,
        machine=cpu_model(),
        client=seen.client,
        versions={name: version(name) for name in _PACKAGES},
    )


def _cpu_s(served: Served) -> dict[str, float]:
    model = sum(cpu_seconds(pid) for pid in descendants(served.pid))
    return {"server": cpu_seconds(served.pid), "model": model}


def _as_json(report: Report) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        return None if isinstance(value, float) and value != value else value

    return json.dumps(plain(asdict(report)), indent=2) + "\n"


def _table(report: Report) -> Table:
    table = Table("", "p50", "p95", title=f"{report.engine}, {report.delay_ms:g} ms of its own")
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
    frames = report.glass
    for label, value in (
        ("delivered, frames/s", f"{frames.fps:.1f}"),
        ("shown / at the camera", f"{frames.num_shown} / {frames.num_sent}"),
        (
            "dropped, reordered, unread",
            f"{frames.num_dropped}, {frames.num_reordered}, {frames.num_unread}",
        ),
        ("freezes, longest gap ms", f"{frames.num_freezes}, {frames.longest_gap_ms:.0f}"),
        ("jitter buffer, ms", f"{report.jitter_buffer_ms:.1f}"),
        *((f"CPU seconds, {part}", f"{spent:.1f}") for part, spent in report.cpu_s.items()),
    ):
        table.add_row(label, value, "")
    return table
