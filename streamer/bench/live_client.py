"""A client of the live server made of aiortc: a camera that counts, and what came back when."""

import asyncio
import fractions
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from streamer.bench import counter
from streamer.bench.relay import Relay, hide_candidates
from streamer.errors import StreamerError
from streamer.live import Picture
from streamer.marker_release import release_on_marker

_CLOCK_RATE = 90_000
_GREY = 110


class RefusedError(StreamerError):
    """The server answered a request for a session with an error.

    Attributes:
        status: of HTTP.
        retry_after_s: as the server says; None where it says nothing.
    """

    def __init__(self, status: int, retry_after_s: str | None, sentence: str) -> None:
        super().__init__(f"the server refused the session with {status}: {sentence}")
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A returned frame: its number and, by `time.monotonic`, when it came and when it was sent."""

    number: int
    came_s: float
    sent_s: float

    @property
    def latency_s(self) -> float:
        """From the camera back to here."""
        return self.came_s - self.sent_s


def numbered(number: int, height: int = 240, width: int = 320) -> Picture:
    """A (height, width, 3) texture that moves, several packets a frame as a face is, numbered."""
    rows, columns = np.ogrid[:height, :width]
    waves = np.sin(rows / 3 + number / 4) * np.sin(columns / 5 - number / 3)
    image = np.repeat((_GREY + 60 * waves).astype(np.uint8)[..., None], 3, axis=-1)
    counter.draw(image, number)
    return image


class CountingCamera(MediaStreamTrack):
    """A camera whose pictures bear their numbers.

    Args:
        rate: pictures a second.
        paint: makes the picture of a number.

    Attributes:
        sent_s: `time.monotonic` of each number so far.
        most_fps: pictures a second from now on, where that is fewer; None: all.
    """

    kind = "video"

    def __init__(self, rate: float = 30.0, paint: Callable[[int], Picture] = numbered) -> None:
        super().__init__()
        self.sent_s: list[float] = []
        self.most_fps: float | None = None
        self._rate = rate
        self._due_s = 0.0
        self._paint = paint
        self._began_s: float | None = None

    async def recv(self) -> VideoFrame:
        """The next picture, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = self._due_s = now_s
        number = len(self.sent_s)
        await asyncio.sleep(max(0.0, self._due_s - now_s))
        self._due_s += 1 / min(self._rate, self.most_fps or self._rate)
        frame = VideoFrame.from_ndarray(self._paint(number % counter.NUM_NUMBERS), format="rgb24")
        self.sent_s.append(time.monotonic())
        frame.pts = round((self.sent_s[-1] - self._began_s) * _CLOCK_RATE)
        frame.time_base = fractions.Fraction(1, _CLOCK_RATE)
        return frame


class LiveClient:
    """One session.

    Args:
        address: of the server, "http://127.0.0.1:8080".
        camera: what is sent; a `CountingCamera` by default.
        relay: through which all media goes, if any.
        heeds_rate: whether the camera sends no more than the server says it can use, as the page
            does.

    Attributes:
        seen: the frames that came back and bore a number that was sent.
        states: what the server told, in order.
        identifier: of the session; empty before `connect`.
    """

    def __init__(
        self,
        address: str,
        *,
        camera: CountingCamera | None = None,
        relay: Relay | None = None,
        heeds_rate: bool = False,
    ) -> None:
        self.seen: list[Seen] = []
        self.states: list[str] = []
        self.identifier = ""
        self.camera = camera or CountingCamera()
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._address = address.rstrip("/")
        self._relay = relay
        self._heeds_rate = heeds_rate
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        channel = self.connection.createDataChannel("control")
        channel.on("message", self._on_text)
        self.connection.on("track", self._on_track)
        self.connection.addTrack(self.camera)

    async def connect(self, http: aiohttp.ClientSession) -> None:
        """Ask for a session with the first portrait of the server, and connect.

        Raises:
            RefusedError: the server said no.
        """
        connection = self.connection
        await connection.setLocalDescription(await connection.createOffer())
        offer = connection.localDescription.sdp
        answer = await self.ask(http, offer if self._relay is None else hide_candidates(offer))
        sdp = answer if self._relay is None else await self._relay.rewrite_answer(answer)
        await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))

    async def ask(self, http: aiohttp.ClientSession, offer: str) -> str:
        """Ask for a session with an offer; the answer's SDP.

        Raises:
            RefusedError: the server said no.
        """
        async with http.get(f"{self._address}/api/config") as answer:
            config = await answer.json()
        body = {
            "sdp": offer,
            "type": "offer",
            "portrait": config["portraits"][0]["id"],
            "consent": config["consent"]["sha256"],
        }
        async with http.post(f"{self._address}/api/sessions", json=body) as answer:
            told = await answer.json()
            if answer.status != 201:
                after = answer.headers.get("Retry-After")
                raise RefusedError(answer.status, after, told["error"]["message"])
        self.identifier = told["id"]
        return str(told["sdp"])

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on frames and states holds; it is looked at with every change."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def close(self, http: aiohttp.ClientSession | None = None) -> None:
        """Say goodbye, by HTTP where a session is given, and give all back."""
        if http is not None and self.identifier:
            async with http.delete(f"{self._address}/api/sessions/{self.identifier}") as answer:
                await answer.read()
        await self.connection.close()
        self.camera.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _on_text(self, text: str | bytes) -> None:
        message: dict[str, Any] = json.loads(text)
        if message.get("type") == "state":
            self.states.append(message["state"])
            self._start(self._tell())
        elif message.get("type") == "stats" and self._heeds_rate:
            self.camera.most_fps = message["camera_fps"]

    def _on_track(self, track: MediaStreamTrack) -> None:
        for transceiver in self.connection.getTransceivers():
            if transceiver.kind == "video":
                release_on_marker(transceiver.receiver)
        self._start(self._watch(track))

    async def _watch(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    self._take(frame.to_ndarray(format="rgb24"), time.monotonic())
                    await self._tell()
        except MediaStreamError:
            return

    def _take(self, image: Any, came_s: float) -> None:
        number, sent_s = counter.read(image), self.camera.sent_s
        if number is None or number >= len(sent_s):
            return
        number += (len(sent_s) - 1 - number) // counter.NUM_NUMBERS * counter.NUM_NUMBERS
        self.seen.append(Seen(number=number, came_s=came_s, sent_s=sent_s[number]))

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
