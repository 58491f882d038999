"""The light client of `bench live`: a numbered camera and a reader of results, no browser."""

import asyncio
import resource
from collections.abc import Callable

import aiohttp

from streamer.bench import counter
from streamer.bench.live_client import CountingCamera, LiveClient
from streamer.bench.timeline import Sighting
from streamer.bench.watched import Watched
from streamer.errors import SessionFailedError
from streamer.live import Picture

_START_S = 60.0


async def watch_loopback(url: str, paint: Callable[[int], Picture], seconds: float) -> Watched:
    """Stream to the server and read what comes back for a while.

    Args:
        url: of the server.
        paint: makes the camera's picture of a number.
        seconds: from the first edited frame.

    Raises:
        SessionFailedError: no numbered frame came back.
        StreamerError: the server refused the session.
    """
    camera = CountingCamera(counter.RATE, paint)
    client = LiveClient(url, camera=camera, heeds_rate=True)
    async with aiohttp.ClientSession(url) as http:
        try:
            await client.connect(http)
            await asyncio.wait_for(client.until(lambda: len(client.seen) > 0), _START_S)
            begun_s = _own_cpu_s()
            await asyncio.sleep(seconds)
            cpu_s = _own_cpu_s() - begun_s
            async with http.get(f"/api/sessions/{client.identifier}") as answer:
                stages_ms = (await answer.json())["stats"]["stages_ms"]
        except TimeoutError as error:
            raise SessionFailedError("no numbered frame came back within a minute") from error
        finally:
            await client.close(http)
    return Watched(
        captured=[_sighting(at, time_s) for at, time_s in enumerate(client.camera.sent_s)],
        previewed=[],
        returned=[_sighting(one.number, one.came_s) for one in client.seen],
        period=counter.NUM_NUMBERS,
        received={},
        stages_ms=stages_ms,
        cpu_s=cpu_s,
        client="aiortc, whose camera heeds camera_fps as the page's does",
    )


def _sighting(index: int, time_s: float) -> Sighting:
    return Sighting(number=index % counter.NUM_NUMBERS, time_s=time_s)


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
