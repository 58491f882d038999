"""Pictures, sound and players for whoever looks on at a session."""

import asyncio
from fractions import Fraction
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame, VideoFrame

from connected_peer import TIMEOUT_S
from painted_media import CAMERA_COLOUR, PORTRAIT_COLOUR, is_like, painted, portrait_result
from streamer.label import Label
from streamer.live import Picture, TimedFrame
from streamer.outgoing import render
from streamer.taps import Taps


def camera_frame(number: int) -> TimedFrame:
    """A painted picture of the camera."""
    return TimedFrame(image=painted(number, CAMERA_COLOUR), number=number, times_s={})


def show(taps: Taps, number: int, label: Label) -> None:
    """Film, then show a labelled picture as a peer does."""
    frame = camera_frame(number)
    taps.film(frame)
    result = portrait_result(frame)
    taps.see(*render(result.image, label), result)


def sound(number: int) -> AudioFrame:
    """20 ms as they come out of a decoder."""
    frame = AudioFrame.from_ndarray(np.ones((1, 1920), np.int16), format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 960 * number, Fraction(1, 48_000)
    return frame


async def keep_showing(taps: Taps) -> None:
    """Show new pictures and sound until cancelled."""
    label, number = Label(), 0
    while True:
        await asyncio.to_thread(show, taps, number % 200, label)
        taps.hear(sound(number))
        number += 1
        await asyncio.sleep(0.02)


class Player:
    """A WHEP player, after the draft."""

    def __init__(self, *, direction: str = "recvonly", num_videos: int = 1) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.tracks: dict[str, Any] = {}
        self.connection.on("track", lambda track: self.tracks.__setitem__(track.kind, track))
        self.connection.addTransceiver("audio", direction=direction)
        for _ in range(num_videos):
            self.connection.addTransceiver("video", direction=direction)

    async def offer(self) -> str:
        """The SDP to post."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def take(self, answer: str) -> None:
        """Connect."""
        description = RTCSessionDescription(sdp=answer, type="answer")
        await self.connection.setRemoteDescription(description)

    async def picture(self) -> Picture:
        """The first of the portrait; every one on the way is labelled, and no camera's."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                frame: VideoFrame = await self.tracks["video"].recv()
                image = frame.to_ndarray(format="rgb24")
                assert is_labelled(image)
                assert not is_like(image, CAMERA_COLOUR)
                if is_like(image, PORTRAIT_COLOUR):
                    return image


def is_labelled(image: Picture, left: int = 0) -> bool:
    """Whether there is writing where the label goes, in what is right of `left`."""
    part = image[:, left:]
    box = Label().box(*part.shape[:2])
    plate = part[box[1] : box[3], box[0] : box[2]].mean(-1)
    return bool(plate.max() - plate.min() > 80)
