"""Stand-ins for model and connection, and a server in the same loop, for the streamer's tests."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from streamer.consent import CONSENT_SHA256
from streamer.downloads import add_recordings
from streamer.errors import ComputeLostError, PortraitError, StreamerError
from streamer.live import LiveResult, Picture, ReferenceAction, SessionSettings, TimedFrame
from streamer.peering import PeerRequest, Recorder, RecordingRequest
from streamer.portraits import Portraits
from streamer.recordings import Recordings
from streamer.server_config import Limits, ServerConfig
from streamer.signaling import create_app
from streamer.taps import Taps
from streamer.trickle import Fragment
from streamer.whep import add_whep
from streamer.whip import add_whip

Client = TestClient[web.Request, web.Application]
FINGERPRINT = ":".join(["AB"] * 32)
OFFER = "\r\n".join(
    [
        "v=0",
        "o=- 1 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=rtcp-mux",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        f"a=fingerprint:sha-256 {FINGERPRINT}",
        "a=setup:actpass",
        "a=mid:0",
        "a=sendrecv",
        "a=rtpmap:96 VP8/90000",
        "",
    ]
)


class FakeStream:
    """Notes what it is told."""

    def __init__(self, settings: SessionSettings) -> None:
        self.settings = settings
        self.references: list[str] = []
        self.is_closed = False
        self.is_lost = False
        self.still = np.zeros((64, 64, 3), np.uint8)
        self.made_ready: list[SessionSettings] = []
        self.may_make_ready = asyncio.Event()
        self.may_make_ready.set()

    @property
    def num_dropped(self) -> int:
        return 0

    def put(self, frame: TimedFrame) -> None:
        raise NotImplementedError

    async def get(self) -> LiveResult:
        raise NotImplementedError

    async def make_ready(self, settings: SessionSettings) -> None:
        self.made_ready.append(settings)
        await self.may_make_ready.wait()

    async def update(self, settings: SessionSettings) -> None:
        if self.is_lost:
            raise ComputeLostError("the compute process died")
        self.settings = settings

    async def reference(self, action: ReferenceAction) -> None:
        self.references.append(action)

    async def close(self) -> None:
        self.is_closed = True


class FakeCompute:
    """A model that finds a face in every picture that is not black."""

    def __init__(self) -> None:
        self.is_ready = True
        self.failure = ""
        self.streams: dict[str, FakeStream] = {}
        self.told: Callable[[bool], Awaitable[None]] | None = None

    async def start(self) -> None:
        self.is_ready = True

    async def add_portrait(self, image: Picture, face: int | None = None) -> str:
        if image.max() == 0:
            raise PortraitError("there is no face in the portrait; choose another")
        return hashlib.md5(image.tobytes()).hexdigest()

    async def open(self, session: str, settings: SessionSettings) -> FakeStream:
        self.streams[session] = FakeStream(settings)
        return self.streams[session]

    def on_change(self, told: Callable[[bool], Awaitable[None]]) -> None:
        self.told = told

    async def stop(self) -> None:
        self.is_ready = False


class FakePeer:
    """A connection that keeps what is sent; `failure` is raised instead of an answer."""

    def __init__(self, request: PeerRequest, failure: Exception | None) -> None:
        self.request = request
        self.failure = failure
        self.offer = ""
        self.stream: Any = None
        self.fragments: list[Fragment] = []
        self.sent: list[str] = []
        self.has_sent = asyncio.Event()
        self.is_closed = False
        self.is_open = True
        self.taps = Taps()

    async def answer(self, offer_sdp: str) -> str:
        self.offer = offer_sdp
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.stream = await self.request.open_stream()
        return "v=0\r\na=answer\r\n"

    async def add_candidates(self, fragment: Fragment) -> None:
        self.fragments.append(fragment)

    def send(self, text: str) -> bool:
        if not self.is_open:
            return False
        self.sent.append(text)
        self.has_sent.set()
        return True

    def stats(self) -> dict[str, Any]:
        total = {"total": {"p50": 40.0, "p95": 60.0}}
        return {"fps": 24.5, "received": 7, "dropped": 2, "sent": 5, "stages_ms": total}

    async def close(self, message: str = "") -> None:
        if not self.is_closed:
            self.is_closed = True
            self.taps.end()
            self.request.on_state("closed", message)
            if self.stream is not None:
                await self.stream.close()


class FakePeers:
    """Makes them, and keeps them."""

    def __init__(self) -> None:
        self.made: list[FakePeer] = []
        self.failure: Exception | None = None

    def __call__(self, request: PeerRequest) -> FakePeer:
        self.made.append(FakePeer(request, self.failure))
        return self.made[-1]


class FakeRecorder:
    """Records nothing, in order."""

    def __init__(self) -> None:
        self.running: set[str] = set()

    async def start(self, request: RecordingRequest) -> str:
        if request.session in self.running:
            raise StreamerError("a recording is running already")
        self.running.add(request.session)
        return "/api/recordings/1"

    async def stop(self, session: str) -> str:
        if session not in self.running:
            raise StreamerError("nothing is being recorded")
        self.running.remove(session)
        return "/api/recordings/1"

    def state(self, session: str) -> dict[str, Any] | None:
        return {"is_recording": True} if session in self.running else None


def picture(shade: int = 120, side: int = 96, kind: str = "PNG") -> bytes:
    """An encoded picture of one shade."""
    written = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), shade, np.uint8)).save(written, kind)
    return written.getvalue()


class Stage:
    """A running server with its stand-ins."""

    def __init__(
        self,
        client: Client,
        app: web.Application,
        compute: FakeCompute,
        peers: FakePeers,
        log: Path,
    ) -> None:
        self.client = client
        self.app = app
        self.compute = compute
        self.peers = peers
        self.log = log

    async def begin(self, **changed: Any) -> tuple[int, dict[str, Any]]:
        """Ask for a session; status and JSON."""
        body = {"sdp": OFFER, "type": "offer", "portrait": "P001", "consent": CONSENT_SHA256}
        answer = await self.client.post("/api/sessions", json={**body, **changed})
        return answer.status, await answer.json()


@asynccontextmanager
async def served(
    folder: Path, *, limits: Limits | None = None, recorder: Recorder | None = None, **more: Any
) -> AsyncIterator[Stage]:
    """A server on a free port, with one bundled portrait and a page of two files."""
    web_folder = folder / "web"
    web_folder.mkdir(exist_ok=True)
    (web_folder / "index.html").write_text("<!doctype html><title>page</title>", "utf-8")
    (web_folder / "main.js").write_text("export {};", "utf-8")
    (folder / "secret.txt").write_text("secret", "utf-8")
    bundled = folder / "P001.png"
    bundled.write_bytes(picture(90))
    limits = limits or Limits(upload_bytes=200_000, upload_pixels=500 * 500)
    config = replace(
        ServerConfig(limits=limits, log_folder=folder / "log", web_folder=web_folder), **more
    )
    compute, peers = FakeCompute(), FakePeers()
    portraits = Portraits(limits, {"P001": bundled})
    app = create_app(config, compute, peers, portraits=portraits, recorder=recorder)
    add_whip(app)
    add_whep(app)
    if isinstance(recorder, Recordings):
        add_recordings(app, recorder)
    async with TestClient(TestServer(app)) as client:
        yield Stage(client, app, compute, peers, folder / "log" / "sessions.jsonl")
