"""A small server for the page's tests: HTTP of the protocol, and peers that paint a picture."""

import asyncio
import hashlib
import io
import json
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from av import VideoFrame
from PIL import Image, ImageDraw

from streamer.controls import controls_schema
from streamer.errors import ControlError
from streamer.live import LiveControls

PAGE = Path(__file__).parents[2] / "webclient"
CONSENT = "I am the person in the portrait, or I have their permission to show it moving."
CONSENT_HASH = hashlib.sha256(CONSENT.encode()).hexdigest()
POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
SKINS = {"anna": (214, 160, 132), "ben": (141, 93, 69), "chen": (236, 190, 152)}


@dataclass(kw_only=True)
class Behaviour:
    """What a test lets the server do, and what the server saw."""

    num_full: int = 0
    retry_after_s: int = 3
    token: str = ""
    can_record: bool = False
    recording: dict[str, Any] | None = None
    state: str = "streaming"
    is_state_sent: bool = True
    camera_fps: int | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    offers: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    num_ended: int = 0


def portrait_picture(skin: tuple[int, int, int], shift: int = 0) -> Image.Image:
    """A painted face, its eyes and mouth moved aside by `shift` pixels."""
    picture = Image.new("RGB", (512, 512), (92, 112, 140))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((60, 400, 452, 760), fill=(60, 66, 92))
    draw.ellipse((136, 84, 376, 420), fill=(52, 36, 30))
    draw.ellipse((150, 120, 362, 410), fill=skin)
    for x in (208, 304):
        draw.ellipse((x - 20 + shift, 222, x + 20 + shift, 246), fill="white")
        draw.ellipse((x - 9 + shift, 225, x + 9 + shift, 243), fill=(40, 30, 25))
    draw.arc((206 + shift, 290, 306 + shift, 350), 20, 160, fill=(150, 60, 60), width=9)
    return picture


class PaintedTrack(VideoStreamTrack):  # type: ignore[misc]
    """A face that looks from side to side."""

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        shift = int(14 * np.sin(pts / 90000 * 2))
        picture = portrait_picture(SKINS["anna"], shift).resize((256, 256))
        frame = VideoFrame.from_image(picture)
        frame.pts, frame.time_base = pts, time_base
        return frame


class FakeServer:
    """The server in a thread with its own loop; `behaviour` may be changed while it runs."""

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self.url = ""
        self._peers: dict[str, RTCPeerConnection] = {}
        self._channels: list[RTCDataChannel] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "FakeServer":
        self._thread.start()
        self._await(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Lose all connections at once, as a server that was killed does."""
        self._await(self._close_peers())

    def say(self, message: dict[str, Any]) -> None:
        """Send a message to every page."""

        async def send() -> None:
            for channel in self._channels:
                if channel.readyState == "open":
                    channel.send(json.dumps(message))

        self._await(send())

    def _await(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_static("/static", PAGE)
        app.router.add_get("/api/config", self._config)
        app.router.add_get("/api/portraits/{id}/picture", self._picture)
        app.router.add_post("/api/portraits", self._upload)
        app.router.add_post("/api/sessions", self._create)
        app.router.add_get("/api/sessions/{id}", self._describe)
        app.router.add_delete("/api/sessions/{id}", self._delete)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def _stop(self) -> None:
        await self._close_peers()
        await self._runner.cleanup()

    async def _close_peers(self) -> None:
        peers = list(self._peers.values())
        self._peers.clear()
        self._channels.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(
            *self._tasks, *(peer.close() for peer in peers), return_exceptions=True
        )

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        token = self.behaviour.token
        given = request.headers.get("Authorization")
        is_open = not request.path.startswith("/api/") or (
            request.path == "/api/config" and not given
        )
        if token and not is_open and given != f"Bearer {token}":
            return problem(401, "unauthorized", "The token is missing or wrong; enter it again.")
        response: web.StreamResponse = await handler(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    async def _page(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html")

    async def _config(self, _: web.Request) -> web.StreamResponse:
        config = {
            "consent": {"text": CONSENT, "sha256": CONSENT_HASH},
            "label": "AI MODIFIED",
            "ice_servers": [],
            "limits": {},
            "controls": controls_schema(),
            "portraits": [{"id": name, "name": name.title()} for name in SKINS],
            "needs_token": bool(self.behaviour.token),
            "can_record": self.behaviour.can_record,
        }
        return web.json_response(config)

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        skin = SKINS.get(request.match_info["id"], (190, 140, 120))
        file = io.BytesIO()
        portrait_picture(skin).save(file, "JPEG")
        return web.Response(body=file.getvalue(), content_type="image/jpeg")

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("X-Consent") != CONSENT_HASH:
            return problem(403, "consent_missing", "Tick the consent first.")
        name = hashlib.sha256(await request.read()).hexdigest()
        self.behaviour.uploads.append(name)
        return web.json_response({"id": name}, status=201)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        offer = await request.json()
        if self.behaviour.num_full > 0:
            self.behaviour.num_full -= 1
            refused = problem(503, "server_full", "All places are taken; please wait.")
            refused.headers["Retry-After"] = str(self.behaviour.retry_after_s)
            return refused
        if offer["portrait"] not in {*SKINS, *self.behaviour.uploads}:
            return problem(404, "unknown_portrait", "There is no such portrait; upload it again.")
        self.behaviour.offers.append(offer)
        session = f"s{len(self.behaviour.offers)}"
        peer = RTCPeerConnection()
        self._peers[session] = peer
        peer.on("datachannel", self._talk)
        await peer.setRemoteDescription(RTCSessionDescription(sdp=offer["sdp"], type="offer"))
        peer.addTrack(PaintedTrack())
        await peer.setLocalDescription(await peer.createAnswer())
        answer = {"id": session, "sdp": peer.localDescription.sdp, "type": "answer"}
        return web.json_response(
            answer, status=201, headers={"Location": f"/api/sessions/{session}"}
        )

    async def _describe(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"state": self.behaviour.state, "message": "asked for"})

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        self.behaviour.num_ended += 1
        peer = self._peers.pop(request.match_info["id"], None)
        if peer:
            await peer.close()
        return web.Response(status=204)

    def _talk(self, channel: RTCDataChannel) -> None:
        self._channels.append(channel)
        channel.on("message", lambda text: channel.send(json.dumps(self._answer(text))))
        task = self._loop.create_task(self._report(channel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report(self, channel: RTCDataChannel) -> None:
        if self.behaviour.is_state_sent:
            state = {"type": "state", "state": self.behaviour.state, "message": ""}
            channel.send(json.dumps(state))
        stages = {name: {"p50": 4.2, "p95": 9.8} for name in ("receive", "track", "model", "total")}
        figures = {"fps": 29.7, "received": 300, "dropped": 4, "stages_ms": stages, "load_level": 0}
        while channel.readyState == "open":
            told = {"recording": self.behaviour.recording} if self.behaviour.recording else {}
            told["camera_fps"] = self.behaviour.camera_fps
            channel.send(json.dumps({"type": "stats", **figures, **told}))
            await asyncio.sleep(0.5)

    def _answer(self, text: str) -> dict[str, Any]:
        message = json.loads(text)
        self.behaviour.requests.append(message)
        try:
            LiveControls().changed(message.get("controls", {}))
            if message.get("controls", {}).get("strength") == 2:
                raise ControlError("strength 2 is too much for this test; choose less")
        except ControlError as error:
            return {"id": message["id"], "type": "error", "code": "control", "message": str(error)}
        is_recording = message["type"] == "recording"
        download = {"download": "/static/icon.svg"} if is_recording else {}
        return {"id": message["id"], "type": "ack", **download}


def problem(status: int, code: str, message: str) -> web.Response:
    """An error as the protocol writes it."""
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
