"""One person's connection: camera, sound and control in, edited picture and sound out."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.codecs import h264, vpx

from streamer.camera_rate import CameraRate, Count
from streamer.capture import Capture, CaptureSettings, discard
from streamer.closing import end_connection
from streamer.control_channel import ControlChannel, limit_unfinished
from streamer.delayed_audio import DelayedAudio
from streamer.errors import ComputeLostError, SessionFailedError, StreamerError
from streamer.live import ComputeStream, FaceState
from streamer.marker_release import release_on_marker
from streamer.offers import OfferError
from streamer.outgoing import OutgoingSettings, OutgoingTrack
from streamer.playout_delay import show_at_once
from streamer.taps import Taps
from streamer.trickle import Fragment, try_candidates

_LOGGER = logging.getLogger(__name__)
MOST_SECTIONS = 3  # video, audio, data
MOST_SENDERS = 16  # of one track in ten seconds; aiortc keeps account of each for ever
_AUDIO_HELD_S = 0.08  # the four frames that aiortc's jitter buffer of audio keeps
PeerState = Literal[
    "connecting", "warming", "ready", "streaming", "face_lost", "several_faces", "recovering",
    "closed",
]  # fmt: skip
_FACE_STATES: dict[FaceState, PeerState] = {
    "tracked": "streaming",
    "lost": "face_lost",
    "several": "several_faces",
}


@dataclass(frozen=True, kw_only=True)
class BitrateBounds:
    """What a sender may spend on video, in bits a second."""

    least: int = 500_000
    start: int = 1_500_000
    most: int = 4_000_000


def set_bitrate_bounds(bounds: BitrateBounds) -> None:
    """Set what every encoder of this process starts with and may be asked for.

    aiortc has them as constants of its codec modules (VP8 250/500/1500 kbit/s, H.264 500/1000/3000)
    and no other way to them; to be called once, before the first connection.
    """
    for codec in (vpx, h264):
        vars(codec).update(
            MIN_BITRATE=bounds.least, DEFAULT_BITRATE=bounds.start, MAX_BITRATE=bounds.most
        )
    _LOGGER.info("video bitrate: %d to %d bit/s", bounds.least, bounds.most)


@dataclass(frozen=True, kw_only=True)
class PeerSettings:
    """How a connection behaves.

    Attributes:
        ice_servers: STUN and TURN servers; none by default, and none of aiortc's own either.
        capture: size of the camera's picture.
        outgoing: label and cards.
        is_released_on_marker: see `marker_release`.
        connect_timeout_s: to be connected in.
        idle_timeout_s: without any camera picture before the connection is given up.
        limit_s: longest session; None without limit.
        reopen_s: between two tries to open a stream after the model was lost.
    """

    ice_servers: Sequence[RTCIceServer] = ()
    capture: CaptureSettings = field(default_factory=CaptureSettings)
    outgoing: OutgoingSettings = field(default_factory=OutgoingSettings)
    is_released_on_marker: bool = True
    connect_timeout_s: float = 30.0
    idle_timeout_s: float = 20.0
    limit_s: float | None = None
    reopen_s: float = 0.5


class Peer:
    """One aiortc connection of a session.

    Args:
        open_stream: opens the session in the compute process; called again after it was lost.
        settings: times, servers, looks.
        on_state: told of every change of state, with a sentence for the person or "".
        on_message: told of every message on the "control" channel, in order.

    Attributes:
        state: the last one told.
        stream: where controls go now; None before the answer and while the model is lost.
        taps: for who else is to see what is shown.
    """

    def __init__(
        self,
        open_stream: Callable[[], Awaitable[ComputeStream]],
        settings: PeerSettings | None = None,
        *,
        on_state: Callable[[PeerState, str], None] | None = None,
        on_message: Callable[[str | bytes], None] | None = None,
    ) -> None:
        self._open_stream = open_stream
        self._settings = settings or PeerSettings()
        self._on_state = on_state
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="peer")
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=list(self._settings.ice_servers))
        )
        self.taps = Taps()
        self._capture = Capture(
            lambda: self.stream,
            self._executor,
            self._settings.capture,
            on_frame=self.taps.film,
        )
        self._outgoing = OutgoingTrack(
            self._executor,
            self._settings.outgoing,
            on_face=self._on_face,
            on_failure=self._on_lost,
            taps=self.taps,
        )
        self._audio = DelayedAudio(self._video_delay_s, taps=self.taps)
        self._camera_rate = CameraRate()
        self._control = ControlChannel(on_message, on_abuse=self._close_soon)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._is_connected = False
        self._began_s = time.monotonic()
        self._waits_from_s = self._began_s  # for a connection from the answer on; then for pictures
        self.state: PeerState = "connecting"
        self.stream: ComputeStream | None = None

    async def answer(self, offer_sdp: str) -> str:
        """Open the session and answer an offer; all of our candidates are in the answer.

        Raises:
            OfferError: it is no offer that can be answered.
            StreamerError: the session cannot be opened.
        """
        connection = self._connection
        connection.on("track", self._on_track)
        connection.on("datachannel", self._control.take)
        connection.on("connectionstatechange", self._on_connection)
        try:
            await self._accept(offer_sdp)
            await self._open()
            await connection.setLocalDescription(await connection.createAnswer())
        except asyncio.CancelledError:
            self._close_soon("The connection was given up.")
            raise
        except StreamerError:
            await self.close("The session could not be opened.")
            raise
        except Exception as error:
            await self.close("The offer could not be answered.")
            raise OfferError(f"the offer cannot be answered: {error}"[:300]) from error
        self._draw_unsent()
        self._waits_from_s = time.monotonic()
        self._start(self._watch())
        return connection.localDescription.sdp

    async def add_candidates(self, fragment: Fragment) -> None:
        """Try these ways to the client too; after the last ones, or once closed, without effect.

        Names that end in .local are looked up by multicast; nobody waits for that.
        """
        if self._closing is None:
            self._start(try_candidates(self._connection, fragment))
            await asyncio.sleep(0)

    def send(self, text: str) -> bool:
        """Send a text on the "control" channel; whether it was open and is being read."""
        return self._control.send(text)

    def stats(self) -> dict[str, Any]:
        """Counters and times, as the protocol's "stats" message has them."""
        times = self._outgoing.stage_times
        return {
            "fps": round(times.fps(time.monotonic()), 1),
            "received": self._capture.num_received,
            "dropped": self._num_dropped(),
            "sent": self._outgoing.num_sent,
            "stages_ms": times.stages_ms(),
            "load_level": self._outgoing.load_level,
            "camera_fps": self._camera_rate.wanted_fps,
        }

    async def close(self, message: str = "") -> None:
        """End everything of the connection; may be called at any time, and again."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(message))
        await asyncio.shield(self._closing)

    async def _accept(self, offer_sdp: str) -> None:
        """Take the offer and put our tracks into it."""
        connection = self._connection
        if sum(line.startswith("m=") for line in offer_sdp.splitlines()) > MOST_SECTIONS:
            raise OfferError(
                "the offer has too many sections; offer one video, one audio, one data"
            )
        await connection.setRemoteDescription(RTCSessionDescription(sdp=offer_sdp, type="offer"))
        kinds = [transceiver.kind for transceiver in connection.getTransceivers()]
        if kinds.count("video") != 1 or kinds.count("audio") > 1:
            raise OfferError(
                f"the offer has {kinds.count('video')} video and {kinds.count('audio')} audio "
                "tracks; offer one video track and at most one audio track"
            )
        for transceiver in connection.getTransceivers():
            self._prepare(transceiver, offer_sdp)
        if connection.sctp is not None:
            limit_unfinished(connection.sctp, self._close_soon)

    def _prepare(self, transceiver: RTCRtpTransceiver, offer_sdp: str) -> None:
        if transceiver.kind == "audio":
            self._connection.addTrack(self._audio)
            return
        self._connection.addTrack(self._outgoing)
        show_at_once(transceiver, offer_sdp)
        if self._settings.is_released_on_marker:
            release_on_marker(transceiver.receiver)

    def _draw_unsent(self) -> None:
        """Run what the other side does not want back (WHIP), for recordings and viewers."""
        for transceiver in self._connection.getTransceivers():
            track = transceiver.sender.track
            if track is not None and transceiver.currentDirection == "recvonly":
                self._start(discard(track))

    async def _open(self) -> None:
        """Open a stream and show it, unless the peer was closed meanwhile."""
        stream = await self._open_stream()
        if self._closing is not None:
            await _closed(stream)
            raise OfferError("the session was ended before its connection stood")
        self._show(stream)

    def _show(self, stream: ComputeStream | None) -> None:
        self.stream = stream
        self._outgoing.show(stream)

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "video":
            self._start(self._capture.run(track))
        elif track.kind == "audio":
            self._start(self._audio.pump(track))
        else:
            self._start(discard(track))

    def _on_connection(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and not self._is_connected:
            self._is_connected = True
            self._waits_from_s = time.monotonic()
            self._tell("warming" if self.state == "connecting" else self.state)
        elif state in ("failed", "closed"):
            self._close_soon("The connection was lost.")

    def _on_face(self, face: FaceState) -> None:
        if self.state in ("connecting", "warming", "recovering"):
            self._tell("ready")
        self._tell(_FACE_STATES[face])

    def _on_lost(self, error: Exception) -> None:
        """Say so, and open a new stream when the old one is gone with its process."""
        if isinstance(error, SessionFailedError):
            self._close_soon(str(error))
            return
        self._tell("recovering", "The model stopped; it is being started again.")
        if isinstance(error, ComputeLostError):
            self._start(self._reopen())

    async def _reopen(self) -> None:
        lost, self.stream = self.stream, None
        self._outgoing.show(None)
        await _closed(lost)
        while self.stream is None:
            await asyncio.sleep(self._settings.reopen_s)
            try:
                await self._open()
            except ComputeLostError:
                continue
            except StreamerError as error:
                self._close_soon(str(error))
                return
            except Exception:
                _LOGGER.exception("a session could not be opened again")

    async def _watch(self) -> None:
        """Close the connection when one of its times is over."""
        settings = self._settings
        while True:
            now_s = time.monotonic()
            last_s = self._capture.received_s or self._waits_from_s
            limit_s = float("inf") if settings.limit_s is None else settings.limit_s
            ends_s = {"The session's time is over.": self._began_s + limit_s}
            if not self._is_connected:
                connect_end_s = self._waits_from_s + settings.connect_timeout_s
                ends_s["No connection came about."] = connect_end_s
            else:
                ends_s["The camera sent no picture."] = last_s + settings.idle_timeout_s
            if self._num_senders() > MOST_SENDERS:
                ends_s["Too many senders were heard on one connection."] = now_s
            message, end_s = min(ends_s.items(), key=lambda end: end[1])
            if end_s <= now_s:
                self._close_soon(message)
                return
            self._watch_rate(now_s)
            await asyncio.sleep(min(end_s - now_s, 1.0))

    def _watch_rate(self, now_s: float) -> None:
        """See how many frames are used; under load, they are left out by a rate of their own."""
        if self.state not in _FACE_STATES.values() or self._outgoing.load_level:
            self._camera_rate.release()
            return
        received = self._capture.num_received
        self._camera_rate.observe(
            Count(now_s=now_s, received=received, dropped=self._num_dropped())
        )

    def _num_dropped(self) -> int:
        """Frames of the camera that gave way to newer ones."""
        return self._capture.num_dropped + (self.stream.num_dropped if self.stream else 0)

    def _num_senders(self) -> int:
        """How many were heard of late by any receiver (SSRC, RFC 3550 section 3)."""
        receivers = [one.receiver for one in self._connection.getTransceivers()]
        return max((len(one.getSynchronizationSources()) for one in receivers), default=0)

    def _video_delay_s(self) -> float:
        """How late the picture is, without the way to us, which the sound has gone too."""
        times = self._outgoing.stage_times
        return max(0.0, times.median_s("total") + times.median_s("encode") - _AUDIO_HELD_S)

    def _tell(self, state: PeerState, message: str = "") -> None:
        if self.state == "closed":
            return
        self.state = state
        if self._on_state is None:
            return
        try:
            self._on_state(state, message)
        except Exception:
            _LOGGER.exception("a change of state could not be told")

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _close_soon(self, message: str) -> None:
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(message))

    async def _close(self, message: str) -> None:
        self._tell("closed", message)
        self.taps.end()
        self._outgoing.stop()
        self._audio.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        stream, self.stream = self.stream, None
        await _closed(stream)
        await end_connection(self._connection)
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)


async def _closed(stream: ComputeStream | None) -> None:
    """Close a stream; one whose process is gone cannot complain."""
    if stream is None:
        return
    try:
        await stream.close()
    except Exception:
        _LOGGER.info("a stream could not be closed", exc_info=True)
