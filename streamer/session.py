"""One person on camera: connection, controls, messages and figures."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from streamer.controls import SLOW, LiveControls
from streamer.errors import ComputeLostError, ControlError, PortraitError, StreamerError
from streamer.live import Compute, ComputeStream, SessionSettings
from streamer.messages import (
    Content,
    MessageError,
    MessageId,
    Ping,
    Record,
    Reference,
    Set,
    Sound,
    UsePortrait,
    read_message,
)
from streamer.offers import MAX_CANDIDATES, ufrags
from streamer.peering import (
    STATE_SENTENCES,
    Peer,
    PeerFactory,
    PeerRequest,
    Recorder,
    RecordingRequest,
    SessionState,
)
from streamer.portraits import Portrait, Portraits
from streamer.prometheus import ServerMetrics
from streamer.server_config import ServerConfig
from streamer.taps import Taps
from streamer.trickle import FragmentError, read_fragment

_LOG = logging.getLogger(__name__)
_MAX_WAITING = 32
_MAX_SLOW = 8
_STATS_S = 1.0
_TOO_FAST = "messages come too fast; wait for the answers"
_CODES: tuple[tuple[type[StreamerError], str], ...] = (
    (ControlError, "bad_control"),
    (PortraitError, "bad_portrait"),
    (ComputeLostError, "recovering"),
)


class RestartError(StreamerError):
    """A client wants other ICE credentials than those it began with."""


@dataclass(frozen=True, kw_only=True)
class SessionServices:
    """What a session uses of the server.

    Attributes:
        clock: seconds, monotonic.
        on_closed: called with the session's id once its connection is over.
    """

    config: ServerConfig
    compute: Compute
    make_peer: PeerFactory
    portraits: Portraits
    metrics: ServerMetrics
    recorder: Recorder | None
    clock: Callable[[], float]
    on_closed: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _Named:
    """A portrait that controls name, and the model's name for it."""

    portrait: Portrait
    key: str


class Session:
    """One person on camera.

    Args:
        identifier: unguessable.
        watch_key: likewise, for viewers; they can end nothing with it.
        portrait: shown first.
        is_mirrored: whether the camera's frames are flipped at first.
        services: see there.
    """

    def __init__(
        self,
        identifier: str,
        *,
        watch_key: str,
        portrait: Portrait,
        is_mirrored: bool,
        services: SessionServices,
    ) -> None:
        self.identifier = identifier
        self.watch_key = watch_key
        self.state: SessionState = "connecting"
        self.message = STATE_SENTENCES["connecting"]
        self.offer = ""
        self._num_candidates = 0
        self._services = services
        self._portrait = portrait
        self._controls = LiveControls(mirror=is_mirrored)
        self._key = ""
        self._named: dict[str, _Named] = {}  # what attributes are taken from, by clients' names
        self._one_change = asyncio.Lock()  # that takes seconds: of portraits and background
        self._one_update = asyncio.Lock()
        self._slow: set[asyncio.Task[None]] = set()
        self._is_state_heard = False
        self._began_s = services.clock()
        self._counted: dict[str, int] = {}
        self._waiting: asyncio.Queue[str | bytes] = asyncio.Queue(_MAX_WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        self._peer: Peer = services.make_peer(
            PeerRequest(
                open_stream=self._open_stream,
                config=services.config,
                on_state=self.on_state,
                on_message=self.on_message,
            )
        )

    @property
    def taps(self) -> Taps:
        """For who else is to see what the session shows."""
        return self._peer.taps

    async def connect(self, offer: str) -> str:
        """The SDP answer.

        Raises:
            StreamerError: the portrait or the offer cannot be used, or it took too long.
        """
        self.offer = offer
        try:
            async with asyncio.timeout(self._services.config.limits.connect_s):
                return await self._peer.answer(offer)
        except TimeoutError as error:
            raise StreamerError("the connection could not be prepared in time") from error

    async def trickle(self, text: str) -> None:
        """Take in candidates of the client that were not in its offer.

        Args:
            text: an SDP fragment.

        Raises:
            FragmentError: it cannot be read, or there were too many.
            RestartError: it is for another ICE generation than the offer's.
        """
        fragment = read_fragment(text, self.offer)
        if not fragment.ufrags <= ufrags(self.offer):
            raise RestartError("ICE cannot be restarted; begin another session")
        self._num_candidates += len(fragment.candidates)
        if self._num_candidates > MAX_CANDIDATES:
            raise FragmentError(f"a session takes at most {MAX_CANDIDATES} trickled candidates")
        await self._peer.add_candidates(fragment)

    def watch(self) -> None:
        """Begin to answer messages and to tell figures."""
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._tell_often())]

    def describe(self) -> dict[str, Any]:
        """State and figures, as JSON holds them."""
        return {
            "id": self.identifier,
            "state": self.state,
            "message": self.message,
            "age_s": round(self._services.clock() - self._began_s, 1),
            "stats": self._stats(),
        }

    def on_message(self, text: str | bytes) -> None:
        """Take a message in; past a small number of waiting ones the sender is told to slow."""
        try:
            self._waiting.put_nowait(text)
        except asyncio.QueueFull:
            self._send_error(None, "too_many", _TOO_FAST)

    def on_state(self, state: SessionState, message: str) -> None:
        """Pass on a change of the connection's state."""
        if self.state == "closed":
            return
        self.state, self.message = state, message or STATE_SENTENCES[state]
        self._tell_state()
        if state == "closed":
            self._services.on_closed(self.identifier)

    async def answer(self, text: str | bytes) -> None:
        """Follow one message and acknowledge it, or say why not; never raises.

        What takes seconds to make ready is followed beside the messages after it.
        """
        try:
            message = read_message(text, max_bytes=self._services.config.limits.message_bytes)
        except MessageError as error:
            self._send_error(error.identifier, error.code, str(error))
            return
        content = message.content
        if not (isinstance(content, Set) and SLOW & content.controls.keys()):
            await self._answer(message.identifier, content)
        elif len(self._slow) >= _MAX_SLOW:
            self._send_error(message.identifier, "too_many", _TOO_FAST)
        else:
            task = asyncio.create_task(self._answer(message.identifier, content))
            self._slow.add(task)
            task.add_done_callback(self._slow.discard)

    async def _answer(self, identifier: MessageId, content: Content) -> None:
        try:
            extra = await self._follow(content)
        except MessageError as error:
            self._send_error(identifier, error.code, str(error))
        except StreamerError as error:
            code = next((code for kind, code in _CODES if isinstance(error, kind)), "refused")
            self._send_error(identifier, code, str(error))
        except Exception:
            _LOG.exception("a message failed")
            self._send_error(identifier, "internal", "the server made a mistake; try again")
        else:
            self._send({"id": identifier, "type": "ack", **extra})

    def tell(self) -> None:
        """Send the figures, and the state where it was not heard; count them for /metrics."""
        if not self._is_state_heard:
            self._tell_state()
        stats = self._stats()
        metrics = self._services.metrics
        for name in ("received", "dropped", "sent"):
            now = int(stats.get(name, 0))
            metrics.frames.labels(event=name).inc(max(0, now - self._counted.get(name, 0)))
            self._counted[name] = now
        metrics.observe_stages(stats["stages_ms"])
        metrics.load_level.set(stats["load_level"])
        self._send({"type": "stats", **stats})

    async def close(self, message: str) -> None:
        """End everything of the session; a failure in one part does not keep the rest open."""
        tasks = [*self._tasks, *self._slow]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.on_state("closed", message)
        try:
            await self._peer.close(message)
        except Exception:
            _LOG.exception("session %s did not close well", self.identifier[:8])

    async def _open_stream(self) -> ComputeStream:
        """Also after the compute process was lost: the new one does not know the portrait."""
        compute = self._services.compute
        self._key = await compute.add_portrait(self._portrait.image)
        for name, one in self._named.items():
            key = await compute.add_portrait(one.portrait.image)
            self._named[name] = replace(one, key=key)
        return await compute.open(self.identifier, self._settings(self._controls, self._named))

    async def _work(self) -> None:
        while True:
            await self.answer(await self._waiting.get())

    async def _tell_often(self) -> None:
        while True:
            await asyncio.sleep(_STATS_S)
            try:
                self.tell()
            except Exception:
                _LOG.exception("the figures of session %s failed", self.identifier[:8])

    async def _follow(self, content: Content) -> dict[str, Any]:
        if isinstance(content, Set):
            await self._set(content.controls)
        elif isinstance(content, Reference):
            await self._stream().reference(content.action)
        elif isinstance(content, UsePortrait):
            await self._swap(content.portrait)
        elif isinstance(content, Record):
            return await self._record(content)
        elif isinstance(content, Sound):
            self.taps.is_sound_returned = content.action == "on"
        elif isinstance(content, Ping):
            return {"time": content.time}
        return {}

    async def _set(self, values: Mapping[str, object]) -> None:
        """Change controls; only what needs no portrait and no background may do without the lock.

        Others may have changed while something was made ready, so it is put on top of them.
        """
        if not SLOW & values.keys():
            await self._update(values)
            return
        async with self._one_change:
            stream = self._stream()
            controls = self._controls.changed(values)
            named = {name: await self._told(name) for name in controls.sources.values()}
            await stream.make_ready(self._settings(controls, named))
            await self._update(values, named)

    async def _update(
        self, values: Mapping[str, object], named: dict[str, _Named] | None = None
    ) -> None:
        async with self._one_update:
            controls = self._controls.changed(values)
            named = self._named if named is None else named
            await self._stream().update(self._settings(controls, named))
            self._controls, self._named = controls, named

    async def _swap(self, identifier: str) -> None:
        portrait = await self._known(identifier)
        async with self._one_change:
            stream = self._stream()
            key = await self._services.compute.add_portrait(portrait.image)
            settings = self._settings(self._controls, self._named)
            await stream.make_ready(replace(settings, portrait=key))
            async with self._one_update:
                settings = self._settings(self._controls, self._named)
                await stream.update(replace(settings, portrait=key))
                self._portrait, self._key = portrait, key

    async def _known(self, identifier: str) -> Portrait:
        portrait = await self._services.portraits.get(identifier)
        if portrait is None:
            raise MessageError("unknown_portrait", "there is no such portrait; upload it again")
        return portrait

    async def _told(self, identifier: str) -> _Named:
        """Tell the model of a portrait to take an attribute from, if it is not in use already."""
        if identifier in self._named:
            return self._named[identifier]
        portrait = await self._known(identifier)
        key = await self._services.compute.add_portrait(portrait.image)
        return _Named(portrait=portrait, key=key)

    def _settings(self, controls: LiveControls, named: Mapping[str, _Named]) -> SessionSettings:
        sources = {place: named[portrait].key for place, portrait in controls.sources.items()}
        return SessionSettings(portrait=self._key, controls=controls.with_sources(sources))

    def _stream(self) -> ComputeStream:
        stream = self._peer.stream
        if stream is None:
            raise ComputeLostError("the model is starting again; try again in a moment")
        return stream

    async def _record(self, content: Record) -> dict[str, Any]:
        recorder = self._services.recorder
        if recorder is None:
            raise MessageError("not_available", "this server does not record")
        if content.action == "stop":
            return {"download": await recorder.stop(self.identifier)}
        still = self._stream().still
        request = RecordingRequest(
            session=self.identifier,
            taps=self.taps,
            view=content.view,
            size=(still.shape[1], still.shape[0]),
            portrait_sha256=self._portrait.sha256,
        )
        return {"download": await recorder.start(request)}

    def _stats(self) -> dict[str, Any]:
        recorder = self._services.recorder
        recording = None if recorder is None else recorder.state(self.identifier)
        return {
            "fps": 0.0, "received": 0, "dropped": 0, "stages_ms": {}, "load_level": 0,
            "camera_fps": None,
            **self._peer.stats(),
            **({} if recording is None else {"recording": dict(recording)}),
        }  # fmt: skip

    def _tell_state(self) -> None:
        told = {"type": "state", "state": self.state, "message": self.message}
        self._is_state_heard = self._send(told)

    def _send_error(self, identifier: MessageId, code: str, message: str) -> None:
        self._services.metrics.count_error(code)
        self._send({"id": identifier, "type": "error", "code": code, "message": message})

    def _send(self, values: dict[str, Any]) -> bool:
        """Whether it went out; a channel that is closing may refuse in any way."""
        try:
            return self._peer.send(json.dumps(values))
        except Exception:
            return False
