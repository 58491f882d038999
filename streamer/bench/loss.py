"""Measure what a bad network does to the picture, and how soon it is good again."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import aiohttp
import numpy as np
from rich.console import Console

from streamer.bench import counter
from streamer.bench.chromium_client import PERIOD
from streamer.bench.chromium_loss import watch_page_through
from streamer.bench.live_client import CountingCamera, LiveClient, Seen, numbered
from streamer.bench.offline import DRIVER, packaged_file
from streamer.bench.relay import BAD, CLEAN, Conditions, Relay, Weather
from streamer.bench.serving import PASS, running_server
from streamer.errors import StreamerError
from streamer.live import Picture

_NAMES = "before", "during", "after"
_SETTLING_S = 1.0
_CLEAN_S = 6.0
_WINDOW_S = 1.0
_NORMAL_S = 0.03  # above what was usual before


@dataclass(frozen=True, kw_only=True)
class Spell:
    """A time with one sort of network.

    Attributes:
        name: "before", "during", "after".
        begun_s, ended_s: by `time.monotonic`.
    """

    name: str
    begun_s: float
    ended_s: float


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How soon all was well after the last bad moment; None where it never was.

    Attributes:
        newer_s: until a frame came that was captured after it.
        normal_s: until the median latency of the second that followed was what it had been.
        freeze_s: longest time without any new frame, from the first bad moment on.
    """

    newer_s: float | None
    normal_s: float | None
    freeze_s: float


def judged(seen: Sequence[Seen], bad: Spell, usual_s: float) -> Recovery:
    """What the frames of a whole run say.

    Args:
        seen: in the order in which they came.
        bad: the time of loss.
        usual_s: the latency before it.
    """
    newer = next((one for one in seen if one.sent_s >= bad.ended_s), None)
    later = [one for one in seen if one.came_s >= bad.ended_s]
    last_s = later[-1].came_s if later else bad.ended_s
    usual = (
        one.came_s
        for one in later
        if one.came_s + _WINDOW_S <= last_s and _typical_s(later, one.came_s) <= usual_s + _NORMAL_S
    )
    normal_s = next(usual, None)
    times_s = [bad.begun_s, *(one.came_s for one in seen if one.came_s >= bad.begun_s)]
    gaps_s = [after - before for before, after in pairwise(times_s)]
    return Recovery(
        newer_s=None if newer is None else newer.came_s - bad.ended_s,
        normal_s=None if normal_s is None else normal_s - bad.ended_s,
        freeze_s=max(gaps_s, default=float("inf")),
    )


def _typical_s(seen: Sequence[Seen], begun_s: float) -> float:
    """Median latency of the frames of a second."""
    window = [one.latency_s for one in seen if begun_s <= one.came_s < begun_s + _WINDOW_S]
    return float(np.median(window))


def described(seen: Sequence[Seen], spell: Spell) -> str:
    """One line of figures about a spell."""
    frames = [one for one in seen if spell.begun_s <= one.came_s < spell.ended_s]
    if not frames:
        return f"{spell.name:>7}: no frame came back"
    rate = len(frames) / (spell.ended_s - spell.begun_s)
    middle, high = np.percentile([1000 * one.latency_s for one in frames], (50, 95))
    return f"{spell.name:>7}: {rate:4.1f} frames/s, latency p50 {middle:.0f} ms, p95 {high:.0f} ms"


def loss(
    model: str = "pass",
    client: Literal["aiortc", "chromium"] = "aiortc",
    loss_percent: float = 100 * BAD.loss,
    jitter_ms: float = 1000 * BAD.jitter_s,
    bad_s: float = 10.0,
    seed: int = 0,
) -> None:
    """Stream through a clean network, a bad one, and a clean one again; print what was seen.

    Args:
        model: "pass" sends the camera's picture back at once; or a model's name.
        client: one of our own, or the page in a headless browser.
        loss_percent: of the datagrams, in both directions.
        jitter_ms: each datagram takes up to this much longer.
        bad_s: seconds of the bad network.
        seed: which datagrams are lost.
    """
    bad = Conditions(loss=loss_percent / 100, jitter_s=jitter_ms / 1000)
    out = Console(soft_wrap=True, markup=False, highlight=False)
    gone_through = _Spells(bad, (_CLEAN_S, bad_s, _CLEAN_S), seed)
    seen = asyncio.run(_streamed(model, gone_through, client == "chromium"))
    spells = gone_through.passed
    out.print(
        f"{model}, {client}, through {loss_percent:g} % loss and {jitter_ms:g} ms jitter, both ways"
    )
    for spell in spells:
        out.print(described(seen, spell))
    if gone_through.counted:
        out.print(f"the browser's own counters: {gone_through.counted}")
    before = [one.latency_s for one in seen if spells[0].begun_s <= one.came_s < spells[1].begun_s]
    if not before:
        raise StreamerError("no frame came back before the loss; is the model at work?")
    found = judged(seen, spells[1], float(np.median(before)))
    out.print(
        f"from the end of the loss: {_seconds(found.newer_s)} to a frame captured after it, "
        f"{_seconds(found.normal_s)} to the latency of before; "
        f"longest freeze {found.freeze_s:.2f} s"
    )


def camera_for(model: str) -> Callable[[int], Picture]:
    """Pictures for a model to work on: a talking head, where a texture will not do."""
    return numbered if model == PASS else counter.painter(packaged_file(*DRIVER))


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


async def _streamed(model: str, spells: "_Spells", has_browser: bool) -> list[Seen]:
    """All frames that came back while the network went through the spells."""
    relay = Relay(spells.weather)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            async with running_server(model, ["--log_folder", name]) as running:
                stream = _by_page if has_browser else _by_aiortc
                return await stream(running.address, relay, spells, model, folder)
        finally:
            relay.close()


async def _by_aiortc(
    address: str, relay: Relay, spells: "_Spells", model: str, _: Path
) -> list[Seen]:
    client = LiveClient(address, camera=CountingCamera(paint=camera_for(model)), relay=relay)
    async with aiohttp.ClientSession() as http:
        try:
            await client.connect(http)
            await client.until(lambda: len(client.seen) > 0)
            await spells.pass_by()
        finally:
            await client.close(http)
    return client.seen


async def _by_page(
    address: str, relay: Relay, spells: "_Spells", model: str, folder: Path
) -> list[Seen]:
    camera = folder / "camera.mjpeg"
    clip = None if model == PASS else packaged_file(*DRIVER)
    pictures = counter.numbered(PERIOD, clip)
    await asyncio.to_thread(counter.write_camera, camera, pictures)
    seen, spells.counted = await watch_page_through(relay, address, camera, spells.pass_by)
    return seen


class _Spells:
    """Lets the network change, and notes when."""

    def __init__(self, bad: Conditions, lengths_s: tuple[float, float, float], seed: int) -> None:
        self.weather = Weather(CLEAN, seed)
        self.passed: list[Spell] = []
        self.counted: dict[str, float] = {}
        self._planned = tuple(zip(_NAMES, (CLEAN, bad, CLEAN), lengths_s, strict=True))

    async def pass_by(self) -> None:
        """All of them, after a moment in which a new connection settles."""
        await asyncio.sleep(_SETTLING_S)
        for name, conditions, length_s in self._planned:
            self.weather.conditions = conditions
            begun_s = time.monotonic()
            await asyncio.sleep(length_s)
            self.passed.append(Spell(name=name, begun_s=begun_s, ended_s=time.monotonic()))
