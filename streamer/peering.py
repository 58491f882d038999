"""What a session needs of the media connection; `streamer.peer` fulfils it with aiortc."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from streamer.live import ComputeStream
from streamer.messages import RecordingView
from streamer.server_config import ServerConfig
from streamer.taps import Taps
from streamer.trickle import Fragment

SessionState = Literal[
    "connecting", "warming", "ready", "streaming", "face_lost", "several_faces", "recovering",
    "closed",
]  # fmt: skip
STATE_SENTENCES: Mapping[SessionState, str] = {
    "connecting": "connecting",
    "warming": "connected; the first picture is being made",
    "ready": "ready",
    "streaming": "the portrait follows your face",
    "face_lost": "your face is not seen; look at the camera in good light",
    "several_faces": "several faces are seen; the portrait follows the one seen first",
    "recovering": "the model is starting again; this takes a few seconds",
    "closed": "the session has ended",
}
"""What a person is told of a state where there is nothing more to say."""


@dataclass(frozen=True, kw_only=True)
class PeerRequest:
    """What a peer is made from.

    Attributes:
        open_stream: opens the session in the compute process; called again after it was lost.
        config: limits and ICE servers.
        on_state: told of every change of state, with a sentence for the person or "".
        on_message: told of every message on the "control" channel, in order.
    """

    open_stream: Callable[[], Awaitable[ComputeStream]]
    config: ServerConfig
    on_state: Callable[[SessionState, str], None]
    on_message: Callable[[str | bytes], None]


class Peer(Protocol):
    """One connection to a browser; it keeps the limits of time by itself."""

    stream: ComputeStream | None
    """Where controls go now; None before the answer and while the model is lost."""

    taps: Taps
    """For who else is to see what is shown; ended with the connection."""

    async def answer(self, offer_sdp: str) -> str:
        """Open the stream and answer, all candidates in it.

        Raises:
            StreamerError: the offer has nothing that can be answered.
        """
        ...

    async def add_candidates(self, fragment: Fragment) -> None:
        """Try these ways to the client too; after the last ones, or once closed, without effect."""
        ...

    def send(self, text: str) -> bool:
        """Send on the "control" channel; whether it was open."""
        ...

    def stats(self) -> Mapping[str, Any]:
        """The figures of a "stats" message: fps, received, dropped, stages_ms."""
        ...

    async def close(self, message: str = "") -> None:
        """End the connection; may be called twice. Tells the state "closed"."""
        ...


class PeerFactory(Protocol):
    """Makes the peer of a session."""

    def __call__(self, request: PeerRequest) -> Peer:
        """A peer that is not connected yet."""
        ...


@dataclass(frozen=True, kw_only=True)
class RecordingRequest:
    """What is recorded.

    Attributes:
        session: whose it is.
        taps: where its pictures and its sound come from.
        view: the result alone, or beside the camera's picture.
        size: (width, height) of the result.
        portrait_sha256: for the signed label.
    """

    session: str
    taps: Taps
    view: RecordingView
    size: tuple[int, int]
    portrait_sha256: str


class Recorder(Protocol):
    """Records sessions on the server's side; what still runs when a session ends is kept."""

    async def start(self, request: RecordingRequest) -> str:
        """Begin; the path of the download below the server's URL.

        Raises:
            StreamerError: it cannot, or is recording already.
        """
        ...

    async def stop(self, session: str) -> str:
        """End; the path of the download below the server's URL.

        Raises:
            StreamerError: nothing is being recorded, or it came to nothing.
        """
        ...

    def state(self, session: str) -> Mapping[str, Any] | None:
        """The "recording" of a session's "stats" message; None before its first recording."""
        ...
