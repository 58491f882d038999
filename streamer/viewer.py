"""One who only watches: a connection of its own that is sent what a session shows."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import VIDEO_CLOCK_RATE, VIDEO_TIME_BASE, MediaStreamError
from av import AudioFrame, VideoFrame

from streamer.closing import end_connection
from streamer.live import TimedFrame
from streamer.offers import MAX_CANDIDATES, OfferError
from streamer.recording_tracks import untimed
from streamer.taps import ShownPicture, Taps
from streamer.trickle import Fragment, FragmentError, try_candidates

_MOST_SOUND = 50  # frames of 20 ms


class WatchedPictures(MediaStreamTrack):
    """The newest picture shown; those that the encoder had no time for are left out."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._newest: ShownPicture | None = None
        self._has_newest = asyncio.Event()
        self._began_s: float | None = None
        self._pts = -1

    def put(self, shown: ShownPicture) -> None:
        """Show this one next."""
        self._newest = shown
        self._has_newest.set()

    async def recv(self) -> VideoFrame:
        """A copy of the newest, for every encoder marks its key frames in the frame itself.

        Raises:
            MediaStreamError: the track was stopped.
        """
        await self._has_newest.wait()
        shown, self._newest = self._newest, None
        if self.readyState != "live" or shown is None:
            raise MediaStreamError
        self._has_newest.clear()
        frame = await asyncio.to_thread(_copied, shown.frame)
        if self._began_s is None:
            self._began_s = shown.time_s
        wanted = round((shown.time_s - self._began_s) * VIDEO_CLOCK_RATE)
        self._pts = max(self._pts + 1, wanted)
        frame.pts, frame.time_base = self._pts, VIDEO_TIME_BASE
        return frame

    def stop(self) -> None:
        """End the track; who waits in `recv` is told."""
        super().stop()
        self._newest = None
        self._has_newest.set()


class WatchedSound(MediaStreamTrack):
    """The sound as the session's owner hears it; the oldest goes where nobody fetches it."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._queued: deque[AudioFrame] = deque(maxlen=_MOST_SOUND)
        self._has_frame = asyncio.Event()

    def put(self, frame: AudioFrame) -> None:
        """Let this be heard next."""
        self._queued.append(frame)
        self._has_frame.set()

    async def recv(self) -> AudioFrame:
        """A copy of the oldest frame.

        Raises:
            MediaStreamError: the track was stopped.
        """
        while not self._queued and self.readyState == "live":
            self._has_frame.clear()
            await self._has_frame.wait()
        if self.readyState != "live":
            raise MediaStreamError
        frame = self._queued.popleft()
        copy = untimed(frame)
        copy.pts, copy.time_base = frame.pts, frame.time_base
        return copy

    def stop(self) -> None:
        """End the track; who waits in `recv` is told."""
        super().stop()
        self._queued.clear()
        self._has_frame.set()


@dataclass(frozen=True, kw_only=True)
class ViewerSettings:
    """How a viewer is connected.

    Attributes:
        ice_servers: STUN and TURN servers.
        connect_s: to be connected in.
    """

    ice_servers: Sequence[RTCIceServer] = ()
    connect_s: float = 20.0


class Viewer:
    """A watcher that sends what it sees and hears to one player.

    Args:
        taps: of the session.
        settings: times, servers.
        on_closed: told once when the connection is over.
    """

    def __init__(
        self, taps: Taps, settings: ViewerSettings, *, on_closed: Callable[[], None]
    ) -> None:
        self._taps = taps
        self._settings = settings
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=list(settings.ice_servers))
        )
        self._pictures = WatchedPictures()
        self._sound = WatchedSound()
        self._closing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._num_candidates = 0
        self._trying: set[asyncio.Task[None]] = set()

    async def answer(self, offer_sdp: str) -> str:
        """Answer an offer that was checked; all of our candidates are in the answer.

        Raises:
            OfferError: it cannot be answered.
        """
        connection = self._connection
        connection.on("connectionstatechange", self._on_connection)
        try:
            async with asyncio.timeout(self._settings.connect_s):
                await self._accept(offer_sdp)
        except asyncio.CancelledError:
            self._close_soon()
            raise
        except Exception as error:
            await self.close()
            raise OfferError(f"the offer cannot be answered: {error}"[:300]) from error
        self._taps.add(self)
        self._timer = self._loop.call_later(self._settings.connect_s, self._close_soon)
        return str(connection.localDescription.sdp)

    def add_candidates(self, fragment: Fragment) -> None:
        """Try these ways to the player too; once closed, without effect.

        Raises:
            FragmentError: there were too many by now.
        """
        self._num_candidates += len(fragment.candidates)
        if self._num_candidates > MAX_CANDIDATES:
            raise FragmentError(f"a viewer takes at most {MAX_CANDIDATES} trickled candidates")
        if self._closing is None:
            trying = asyncio.ensure_future(try_candidates(self._connection, fragment))
            self._trying.add(trying)
            trying.add_done_callback(self._trying.discard)

    def see(self, shown: ShownPicture) -> None:
        """Send a picture."""
        self._loop.call_soon_threadsafe(self._pictures.put, shown)

    def hear(self, frame: AudioFrame, time_s: float) -> None:
        """Send sound."""
        self._sound.put(frame)

    def film(self, frame: TimedFrame) -> None:
        """Nothing: the camera's picture is nobody's but its owner's."""

    def end(self) -> None:
        """The session is over, and so is this."""
        self._close_soon()

    async def close(self) -> None:
        """End the connection; may be called at any time, and again."""
        self._close_soon()
        if self._closing is not None:
            await asyncio.shield(self._closing)

    async def _accept(self, offer_sdp: str) -> None:
        connection = self._connection
        await connection.setRemoteDescription(RTCSessionDescription(sdp=offer_sdp, type="offer"))
        for transceiver in connection.getTransceivers():
            track = self._pictures if transceiver.kind == "video" else self._sound
            connection.addTrack(track)
            transceiver.direction = "sendonly"
        await connection.setLocalDescription(await connection.createAnswer())

    def _on_connection(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and self._timer is not None:
            self._timer.cancel()
        elif state in ("failed", "closed"):
            self._close_soon()

    def _close_soon(self) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())

    async def _close(self) -> None:
        self._taps.remove(self)
        for trying in list(self._trying):
            trying.cancel()
        await asyncio.gather(*self._trying, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        self._pictures.stop()
        self._sound.stop()
        await end_connection(self._connection)
        self._on_closed()


def _copied(frame: VideoFrame) -> VideoFrame:
    return VideoFrame.from_ndarray(frame.to_ndarray(), format=frame.format.name)
