"""A whole connection in one process: an aiortc client and our peer, joined."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import AudioStreamTrack

from painted_media import (
    CAMERA_COLOUR,
    PORTRAIT_COLOUR,
    PaintedCamera,
    StubStream,
    is_like,
)
from streamer.label import Label
from streamer.live import Picture
from streamer.outgoing import OutgoingSettings
from streamer.peer import Peer, PeerSettings

QUICK = PeerSettings(outgoing=OutgoingSettings(repeat_s=0.05), reopen_s=0.01)
TIMEOUT_S = 10.0


class Client:
    """A browser's part: sends a painted camera, reads what comes back."""

    def __init__(self, *, has_audio: bool = False) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.camera = PaintedCamera()
        self.channel = self.connection.createDataChannel("control")
        self.texts: list[str] = []
        self.channel.on("message", self.texts.append)
        self.tracks: dict[str, MediaStreamTrack] = {}
        self.connection.on("track", lambda track: self.tracks.__setitem__(track.kind, track))
        self.connection.addTrack(self.camera)
        if has_audio:
            self.connection.addTrack(AudioStreamTrack())

    async def connect(self, peer: Peer) -> None:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        answer = await peer.answer(self.connection.localDescription.sdp)
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))

    async def picture(self, wanted: Callable[[Picture], bool]) -> Picture:
        """The first picture of a kind; every picture on the way is labelled and no camera's."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                frame: Any = await self.tracks["video"].recv()
                image = frame.to_ndarray(format="rgb24")
                assert not is_like(image, CAMERA_COLOUR)
                left, top, right, bottom = Label().box(*image.shape[:2])
                plate = image[top:bottom, left:right].mean(-1)
                assert plate.max() - plate.min() > 80
                if wanted(image):
                    return image


class Told:
    """What a peer tells."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []
        self.messages: list[str | bytes] = []
        self.num_broken = 0

    def broken(self, *_: object) -> None:
        self.num_broken += 1
        raise RuntimeError("a bug of the session's")

    def names(self) -> list[str]:
        return [state for state, _ in self.states]


@asynccontextmanager
async def connected(
    open_stream: Callable[[], Awaitable[StubStream]],
    settings: PeerSettings = QUICK,
    *,
    has_audio: bool = False,
) -> AsyncIterator[tuple[Client, Peer, Told]]:
    told, client = Told(), Client(has_audio=has_audio)
    peer = Peer(
        open_stream,
        settings,
        on_state=lambda state, message: told.states.append((state, message)),
        on_message=told.messages.append,
    )
    try:
        await asyncio.wait_for(client.connect(peer), TIMEOUT_S)
        yield client, peer, told
    finally:
        await peer.close()
        await client.connection.close()


async def opened(stream: StubStream) -> StubStream:
    return stream


def is_portrait(image: Picture) -> bool:
    return is_like(image, PORTRAIT_COLOUR)
