"""A light client without a browser: a numbered camera and a reader of results, by one clock."""

import asyncio
import resource
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from streamer.bench import counter
from streamer.bench.chromium_client import Seen
from streamer.bench.timeline import Sighting
from streamer.errors import SessionFailedError
from streamer.live import Picture

_START_S = 60.0


class NumberedTrack(VideoStreamTrack):
    """A camera's pictures in a loop, 30 a second, each noted with its number and time."""

    def __init__(self, pictures: list[Picture]) -> None:
        super().__init__()
        self._pictures = pictures
        self._begun_s: float | None = None
        self._next = 0
        self.sent: list[Sighting] = []

    async def recv(self) -> VideoFrame:
        """The next picture when it is due; late ones are left out, as a camera does."""
        now_s = time.monotonic()
        self._begun_s = self._begun_s or now_s
        self._next = max(self._next, int((now_s - self._begun_s) * counter.RATE))
        await asyncio.sleep(self._begun_s + self._next / counter.RATE - now_s)
        number = self._next % len(self._pictures)
        frame = VideoFrame.from_ndarray(self._pictures[number], format="yuv420p")
        frame.pts, frame.time_base = self._next, Fraction(1, counter.RATE)
        self.sent.append(Sighting(number=number, time_s=time.monotonic()))
        self._next += 1
        return frame


def watch_loopback(url: str, camera: Path, seconds: float) -> Seen:
    """Stream the camera's file to the server and read what comes back for a while.

    Args:
        url: of the server's page.
        camera: MJPEG with numbers, see `counter.write_camera`.
        seconds: from the first edited frame.

    Raises:
        SessionFailedError: no numbered frame came back.
    """
    return asyncio.run(_watch(url, list(_pictures(camera)), seconds))


async def _watch(url: str, pictures: list[Picture], seconds: float) -> Seen:
    camera, returned = NumberedTrack(pictures), list[Sighting]()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    readers: list[asyncio.Task[None]] = []
    has_numbers = asyncio.Event()

    @connection.on("track")
    def read(track: Any) -> None:
        readers.append(asyncio.ensure_future(_read(track, returned, has_numbers)))

    async with aiohttp.ClientSession(url) as http:
        connection.addTrack(camera)
        connection.createDataChannel("control")
        session = await _begin(http, connection)
        try:
            await asyncio.wait_for(has_numbers.wait(), _START_S)
            begun_s = _own_cpu_s()
            await asyncio.sleep(seconds)
            cpu_s = _own_cpu_s() - begun_s
            async with http.get(f"/api/sessions/{session}") as answer:
                stages_ms = (await answer.json())["stats"]["stages_ms"]
        except TimeoutError as error:
            raise SessionFailedError("no numbered frame came back within a minute") from error
        finally:
            await connection.close()
            await asyncio.gather(*readers, return_exceptions=True)
            await http.delete(f"/api/sessions/{session}")
    return Seen(captured=camera.sent, previewed=[], returned=returned, received={},
                stages_ms=stages_ms, cpu_s=cpu_s, client="aiortc")  # fmt: skip


async def _begin(http: aiohttp.ClientSession, connection: RTCPeerConnection) -> str:
    """Offer and take the answer; the session's id."""
    async with http.get("/api/config") as answer:
        config = await answer.json()
    await connection.setLocalDescription(await connection.createOffer())
    body = {
        "sdp": connection.localDescription.sdp,
        "portrait": config["portraits"][0]["id"],
        "consent": config["consent"]["sha256"],
    }
    async with http.post("/api/sessions", json=body) as answer:
        given = await answer.json()
        if answer.status != 201:
            raise SessionFailedError(given["error"]["message"])
    await connection.setRemoteDescription(RTCSessionDescription(sdp=given["sdp"], type="answer"))
    return str(given["id"])


async def _read(track: Any, returned: list[Sighting], has_numbers: asyncio.Event) -> None:
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        time_s = time.monotonic()
        if not isinstance(frame, VideoFrame):
            continue
        number = counter.read(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
        returned.append(Sighting(number=number, time_s=time_s))
        if number is not None:
            has_numbers.set()


def _pictures(camera: Path) -> Iterator[Picture]:
    """The file's frames as the encoder takes them, so that sending costs no conversion."""
    with av.open(str(camera), format="mjpeg") as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
