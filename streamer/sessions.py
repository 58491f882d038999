"""Every person on camera: who may begin, and that all ends tidily and is on record."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from streamer.consent import CONSENT_SHA256, SessionLog
from streamer.errors import StreamerError
from streamer.live import Compute, why_not_ready
from streamer.memory import give_back
from streamer.peering import PeerFactory, Recorder
from streamer.portraits import Portrait, Portraits
from streamer.prometheus import ServerMetrics
from streamer.server_config import ServerConfig
from streamer.session import Session, SessionServices

_LOG = logging.getLogger(__name__)
_TIDY_S = 1.0  # after a session's end, when nothing holds it any more


class FullError(StreamerError):
    """As many people are on camera as the server takes."""


class KeyTakenError(StreamerError):
    """Another session is watched by the key that was asked for."""


class NotReadyError(StreamerError):
    """The model is still warming up, or starting again."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the server's parts share; made once, for one app."""

    config: ServerConfig
    compute: Compute
    make_peer: PeerFactory
    portraits: Portraits
    log: SessionLog
    metrics: ServerMetrics = field(default_factory=ServerMetrics)
    recorder: Recorder | None = None
    clock: Callable[[], float] = time.monotonic


def new_key() -> str:
    """24 characters that nobody guesses, fit for addresses."""
    return secrets.token_urlsafe(18)


@dataclass(frozen=True, kw_only=True)
class SessionWish:
    """What a client asks for, consent given.

    Attributes:
        offer: SDP.
        portrait: an id of the gallery or of an upload.
        remote: the visitor's address.
        is_mirrored: flip the camera's picture.
        watch_key: for viewers.
    """

    offer: str
    portrait: str
    remote: str
    is_mirrored: bool = False
    watch_key: str = field(default_factory=new_key)


@dataclass(frozen=True, kw_only=True)
class SessionRequest:
    """A checked wish for a session: consent was given, the offer was looked through.

    Attributes:
        remote: the visitor's address, for the record.
        watch_key: by which viewers know it; unguessable.
    """

    remote: str
    portrait: Portrait
    offer: str
    is_mirrored: bool
    watch_key: str


class Sessions:
    """The registry.

    Args:
        services: see there.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions: dict[str, Session] = {}
        self._opening: list[str] = []
        self._ending: set[asyncio.Task[bool]] = set()
        self._tidying: asyncio.TimerHandle | None = None
        services.compute.on_change(self._on_compute)

    def __len__(self) -> int:
        return len(self._sessions) + len(self._opening)

    def get(self, identifier: str) -> Session | None:
        """The session of that id, while it lasts."""
        return self._sessions.get(identifier)

    def watched(self, key: str) -> Session | None:
        """The session that viewers know by that key, while it lasts."""
        sessions = self._sessions.values()
        return next((each for each in sessions if each.watch_key == key), None)

    def check_room(self) -> None:
        """Refuse before any work is done.

        Raises:
            NotReadyError: the model is not warm.
            FullError: at the limit.
        """
        if reason := why_not_ready(self._services.compute):
            raise NotReadyError(reason)
        if len(self) >= self._services.config.max_sessions:
            raise FullError("all places are taken; try again in a moment")

    async def open(self, request: SessionRequest) -> tuple[Session, str]:
        """Begin a session; it and the SDP answer.

        Raises:
            NotReadyError: the model is not warm.
            FullError: at the limit.
            KeyTakenError: another session is watched by its key.
            StreamerError: the portrait or the offer cannot be used.
        """
        self.check_room()
        key = request.watch_key
        if key in self._opening or self.watched(key) is not None:
            raise KeyTakenError("another session is watched by that key; choose anew")
        self._opening.append(key)
        try:
            session, answer = await self._opened(request)
        finally:
            self._opening.remove(key)
        self._sessions[session.identifier] = session
        self._services.metrics.started.inc()
        self._services.metrics.sessions.set(len(self._sessions))
        if session.state == "closed":
            self._end_soon(session.identifier)
        else:
            session.watch()
        return session, answer

    async def close(self, identifier: str, message: str) -> bool:
        """End a session; False where there is none of that id."""
        session = self._sessions.pop(identifier, None)
        if session is None:
            return False
        services = self._services
        services.metrics.sessions.set(len(self._sessions))
        await session.close(message)
        with contextlib.suppress(StreamerError):
            await services.log.write(
                {**_stamp("stop", identifier), "message": message or session.message}
            )
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(_TIDY_S, self._tidy)
        return True

    async def close_all(self) -> None:
        """End every session, and wait for those that are ending."""
        for identifier in list(self._sessions):
            await self.close(identifier, "the server is stopping")
        if self._tidying is not None:
            self._tidying.cancel()
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    async def _opened(self, request: SessionRequest) -> tuple[Session, str]:
        """A connected session that is on record; nothing of it stays when either fails."""
        services = self._services
        session = Session(
            new_key(),
            watch_key=request.watch_key,
            portrait=request.portrait,
            is_mirrored=request.is_mirrored,
            services=SessionServices(
                config=services.config,
                compute=services.compute,
                make_peer=services.make_peer,
                portraits=services.portraits,
                metrics=services.metrics,
                recorder=services.recorder,
                clock=services.clock,
                on_closed=self._end_soon,
            ),
        )
        try:
            answer = await session.connect(request.offer)
            await services.log.write(
                {
                    **_stamp("start", session.identifier),
                    "remote": request.remote,
                    "consent_sha256": CONSENT_SHA256,
                    "portrait_sha256": request.portrait.sha256,
                    "model": services.config.model,
                }
            )
        except BaseException:
            await session.close("the session could not begin")
            raise
        return session, answer

    def _tidy(self) -> None:
        """Give the memory of ended sessions back; most of it without the interpreter's lock."""
        self._tidying = None
        asyncio.get_running_loop().run_in_executor(None, give_back)

    def _end_soon(self, identifier: str) -> None:
        task = asyncio.ensure_future(self.close(identifier, ""))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _on_compute(self, is_warm: bool) -> None:
        _LOG.info("the compute process is %s", "warm" if is_warm else "lost")
        self._services.metrics.ready.set(is_warm)
        if not is_warm:
            self._services.metrics.lost.inc()


def _stamp(event: str, identifier: str) -> dict[str, object]:
    """The id is cut: a whole one would let a reader of the record end the session."""
    return {
        "event": event,
        "session": identifier[:8],
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
