"""Several people on camera at once: a server and aiortc clients in; frames, latency, memory out."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import numpy as np

from streamer.bench.held import held_by
from streamer.bench.live_client import CountingCamera, LiveClient, Seen
from streamer.bench.loss import camera_for
from streamer.bench.processes import descendants
from streamer.bench.serving import RunningServer, running_server
from streamer.errors import SessionFailedError, UsageError
from streamer.live import Picture

_CONNECT_S = 120.0
_SETTLING_S = 3.0
_SAMPLE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class CrowdPoint:
    """A number of sessions at once.

    Attributes:
        num_sessions: how many.
        fps: new frames a second of each session, told by the numbers they were sent with.
        p50_ms, p95_ms: from the camera back to the client, all sessions together; NaN where no
            frame came back.
        server_megabytes: most resident memory of the server and its model process, added up.
    """

    num_sessions: int
    fps: tuple[float, ...]
    p50_ms: float
    p95_ms: float
    server_megabytes: float

    @property
    def total_fps(self) -> float:
        """Frames a second of all sessions."""
        return sum(self.fps)


def by_sessions(counts: Sequence[int], model: str, seconds: float) -> list[CrowdPoint]:
    """A fresh server for each number of sessions.

    Args:
        counts: of sessions.
        model: a name, or "pass" for the engine that sends pictures back at once.
        seconds: to measure, once every session has a picture.

    Raises:
        StreamerError: the server does not start, or a session gets no picture.
    """
    if min(counts, default=1) < 1 or seconds <= 0:
        raise UsageError(f"got {counts=} and {seconds=}; expected sessions and a time above 0")
    return [asyncio.run(_measured(count, model, seconds)) for count in counts]


async def _measured(count: int, model: str, seconds: float) -> CrowdPoint:
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        options = ["--log_folder", folder, "--max_sessions", str(count)]
        async with (
            running_server(model, options) as server,
            aiohttp.ClientSession() as http,
            AsyncExitStack() as connected,
        ):
            paint = camera_for(model)
            clients = [await _streaming(server, http, paint, connected) for _ in range(count)]
            await asyncio.sleep(_SETTLING_S)
            begun_s = time.monotonic()
            megabytes = await _watch_memory(server, begun_s + seconds)
            ended_s = time.monotonic()
            return crowd_point([client.seen for client in clients], begun_s, ended_s, megabytes)


def crowd_point(
    seen: Sequence[Sequence[Seen]], begun_s: float, ended_s: float, server_megabytes: float
) -> CrowdPoint:
    """What the frames of a stretch of time say.

    Args:
        seen: frames of each session.
        begun_s: the stretch's beginning, by `time.monotonic`.
        ended_s: its end.
        server_megabytes: most memory meanwhile.
    """
    counted = [[one for one in _first(each) if begun_s <= one.came_s < ended_s] for each in seen]
    latencies_ms = [1000 * one.latency_s for each in counted for one in each]
    p50, p95 = np.percentile(latencies_ms, (50, 95)) if latencies_ms else (np.nan, np.nan)
    return CrowdPoint(
        num_sessions=len(seen),
        fps=tuple(len(each) / (ended_s - begun_s) for each in counted),
        p50_ms=float(p50),
        p95_ms=float(p95),
        server_megabytes=server_megabytes,
    )


def _first(seen: Sequence[Seen]) -> list[Seen]:
    """Each frame as it came first: where nothing newer is there, the last one is sent again."""
    first: dict[int, Seen] = {}
    for one in seen:
        first.setdefault(one.number, one)
    return list(first.values())


async def _streaming(
    server: RunningServer,
    http: aiohttp.ClientSession,
    paint: Callable[[int], Picture],
    connected: AsyncExitStack,
) -> LiveClient:
    """A client whose first frame is back; it says goodbye when the stack is left.

    Raises:
        SessionFailedError: none came in two minutes.
    """
    client = LiveClient(server.address, camera=CountingCamera(paint=paint))
    connected.push_async_callback(client.close, http)
    try:
        async with asyncio.timeout(_CONNECT_S):
            await client.connect(http)
            await client.until(lambda: len(client.seen) > 0)
    except TimeoutError as error:
        raise SessionFailedError("no numbered frame came back within two minutes") from error
    return client


async def _watch_memory(server: RunningServer, until_s: float) -> float:
    """The most that server and model held until then."""
    most = 0.0
    while time.monotonic() < until_s:
        held = [held_by(pid) for pid in (server.pid, *descendants(server.pid))]
        most = max(most, sum(one.rss_mb for one in held if one is not None))
        await asyncio.sleep(min(_SAMPLE_S, max(0.0, until_s - time.monotonic())))
    return most
