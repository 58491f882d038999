"""The compute process: one engine, many sessions, one frame of each at a time in turn.

Where the engine works in stages, a frame is begun while the one before it is being finished.
Portraits take seconds to encode and have a thread of their own, so that frames go on meanwhile.
"""

import importlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, cast

from streamer.errors import SessionFailedError, StreamerError
from streamer.frame_slot import Bell, FrameSlot
from streamer.live import (
    LiveEngine,
    LiveResult,
    Picture,
    ReferenceAction,
    SessionSettings,
    StagedLiveEngine,
    TimedFrame,
)
from streamer.load_control import LoadControl, Served
from streamer.painter import InHand, Painter, SessionSlots

RequestKind = Literal[
    "add_portrait", "make_ready", "open", "update", "reference", "close", "stop"
]  # fmt: skip
BESIDE: frozenset[RequestKind] = frozenset({"add_portrait", "make_ready"})
"""What takes seconds, and has a thread of its own."""
_PORTRAIT_NICENESS = 10
READY = 0
"""Number of the answer that nobody asked for: the engine is warm, or cannot be had."""


@dataclass(frozen=True, kw_only=True)
class EngineFactory:
    """How the compute process comes by its engine.

    Attributes:
        path: 'module:function', imported there.
        arguments: what the function is called with; picklable.
    """

    path: str
    arguments: tuple[object, ...] = ()

    def make(self) -> LiveEngine:
        """Import the function and call it."""
        module, _, function = self.path.partition(":")
        return cast(LiveEngine, getattr(importlib.import_module(module), function)(*self.arguments))


@dataclass(frozen=True, kw_only=True)
class SlotAddress:
    """By what the other process finds a `FrameSlot`."""

    name: str
    capacity: int

    def attach(self) -> FrameSlot:
        """The other end of it."""
        return FrameSlot.attach(self.name, self.capacity)


@dataclass(frozen=True, kw_only=True)
class Request:
    """Something asked of the engine: answered between two frames, those in BESIDE beside them."""

    number: int
    kind: RequestKind
    arguments: tuple[object, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of the request of that number."""

    number: int
    value: object = None
    error: StreamerError | None = None


@dataclass(frozen=True, kw_only=True)
class SessionFailed:
    """A session that was closed because the engine failed on its frame."""

    session: str
    sentence: str


def serve(factory: EngineFactory, requests: Connection, bell: Bell) -> None:
    """Run the compute process until it is told to stop, or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which then stops us
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    try:
        engine = factory.make()
        engine.warm_up()
    except Exception as error:
        requests.send(Answer(number=READY, error=_told(error, "the model cannot be started")))
        return
    requests.send(Answer(number=READY))
    with suppress(EOFError, OSError), closing(_Desk(engine, requests, bell)) as desk:
        desk.run()  # until told to stop, or the parent is gone


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _told(error: Exception, what: str) -> StreamerError:
    if isinstance(error, StreamerError):
        return error
    logging.getLogger(__name__).error("%s", what, exc_info=error)
    first_line = next(iter(str(error).splitlines()), "")
    return SessionFailedError(f"{what} ({type(error).__name__}: {first_line:.200})")


class _Desk:
    """Takes requests and frames, one at a time, and hands the engine's work back."""

    def __init__(self, engine: LiveEngine, requests: Connection, bell: Bell) -> None:
        self._engine = engine
        self._requests = requests
        self._sending = threading.Lock()
        self._bell = bell
        self._sessions: dict[str, SessionSlots] = {}  # in the order in which they are served
        self._load = LoadControl()
        self._painter = Painter(is_beside=isinstance(engine, StagedLiveEngine), on_result=bell.ring)
        self._is_stopped = False
        self._handlers: dict[RequestKind, Callable[..., object]] = {
            "add_portrait": self._add_portrait,
            "make_ready": self._make_ready,
            "open": self._open,
            "update": self._update,
            "reference": self._reference,
            "close": self._close,
            "stop": self._stop,
        }

    def run(self) -> None:
        """Serve until told to stop.

        Raises:
            EOFError: the parent closed its end.
        """
        timeout_s: float | None = None
        sources: list[Any] = [self._requests, self._bell, self._painter]
        while not self._is_stopped:
            ready: list[Any] = wait(sources, timeout=timeout_s)
            if self._bell in ready:
                self._bell.silence()
            self._settle()
            if self._requests in ready:
                self._take(self._requests.recv())
            timeout_s = self._serve_next()

    def close(self) -> None:
        """Let go of everything but what the parent gave."""
        self._painter.close()

    def _take(self, request: Request) -> None:
        if request.kind in BESIDE:
            name = f"portrait-{request.number}"
            threading.Thread(
                target=self._answer_beside, args=(request,), name=name, daemon=True
            ).start()
        else:
            self._answer(request)

    def _answer_beside(self, request: Request) -> None:
        """In a thread that gives way to the frames where processor time is short."""
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PORTRAIT_NICENESS)
        with suppress(OSError):  # the parent is gone
            self._answer(request)

    def _send(self, message: Answer | SessionFailed) -> None:
        with self._sending:
            self._requests.send(message)

    def _serve_next(self) -> float | None:
        """Begin a frame of the session whose turn it is.

        Returns:
            Seconds until there may be another to begin; None: not before a bell rings.
        """
        waiting = next((name for name, one in self._sessions.items() if one.frames.has_new), None)
        delay_s = self._painter.delay_s()
        if waiting is None or delay_s is None:
            return None
        if delay_s > 0:
            return delay_s
        session = self._sessions[waiting] = self._sessions.pop(waiting)
        self._begin(waiting, session)
        return 0.0

    def _begin(self, name: str, session: SessionSlots) -> None:
        taken = session.frames.read()
        if taken is None:
            return
        image, header = taken
        begun_s = time.monotonic()
        times_s = {**header["times_s"], "taken": begun_s}
        frame = TimedFrame(image=image, number=header["number"], times_s=times_s)
        session.take()
        try:
            self._follow_load(name)
            finish = self._prepare(name, frame)
        except Exception as error:
            session.give_back()
            self._fail(name, error)
            return
        in_hand = InHand(
            name=name,
            slots=session,
            frame=frame,
            begun_s=begun_s,
            prepare_s=time.monotonic() - begun_s,
            finish=finish,
            told={"load_level": self._load.level, "keep_every": self._load.keep_every(name)},
        )
        self._painter.start(in_hand)
        self._settle()

    def _prepare(self, name: str, frame: TimedFrame) -> Callable[[], LiveResult]:
        """The engine's first stage; all of its work where it has but one."""
        if isinstance(self._engine, StagedLiveEngine):
            return self._engine.prepare(name, frame)
        result = self._engine.process(name, frame)
        return lambda: result

    def _settle(self) -> None:
        """Count the frames that are finished; their sessions may have ended meanwhile."""
        for finished in self._painter.take_finished():
            in_hand = finished.of
            if self._sessions.get(in_hand.name) is not in_hand.slots:
                continue
            if finished.error is not None:
                self._fail(in_hand.name, finished.error)
            else:
                self._measure(in_hand, finished.paint_s)

    def _fail(self, name: str, error: Exception) -> None:
        sentence = str(_told(error, "the model failed on this session, which was closed"))
        self._forget(name)
        self._send(SessionFailed(session=name, sentence=sentence))

    def _follow_load(self, name: str) -> None:
        settings = self._load.due(name)
        if settings is not None:
            self._engine.update(name, settings)
            self._load.set(name, self._load.wanted(name), settings)

    def _measure(self, in_hand: InHand, paint_s: float) -> None:
        """Tell the load how long the slower stage was busy: the two overlap."""
        served = Served(
            number=in_hand.frame.number,
            received_s=in_hand.frame.times_s.get("received", in_hand.begun_s),
            model_s=max(in_hand.prepare_s, paint_s),
            now_s=time.monotonic(),
        )
        self._load.observe(in_hand.name, served)

    def _answer(self, request: Request) -> None:
        try:
            value = self._handlers[request.kind](*request.arguments)
            answer = Answer(number=request.number, value=value)
        except Exception as error:
            what = f"the model failed to {request.kind.replace('_', ' ')}"
            answer = Answer(number=request.number, error=_told(error, what))
        self._send(answer)

    def _add_portrait(self, address: SlotAddress, face: int | None) -> str:
        return self._engine.add_portrait(_only_picture(address), face)

    def _make_ready(self, _name: str, settings: SessionSettings) -> None:
        self._engine.make_ready(settings)

    def _open(
        self, name: str, settings: SessionSettings, frames: SlotAddress, results: SlotAddress
    ) -> None:
        session = SessionSlots(frames.attach(), results.attach())
        try:
            given = self._load.limited(settings)
            session.show(self._engine.open(name, given))
        except Exception:
            session.close()
            with suppress(Exception):
                self._engine.close(name)
            raise
        self._sessions[name] = session
        self._load.set(name, settings, given)

    def _update(self, name: str, settings: SessionSettings) -> None:
        self._check(name)
        given = self._load.limited(settings)
        self._engine.update(name, given)
        self._load.set(name, settings, given)

    def _reference(self, name: str, action: ReferenceAction) -> None:
        self._check(name)
        self._engine.reference(name, action)

    def _check(self, name: str) -> None:
        if name not in self._sessions:
            raise SessionFailedError("this session is not open in the compute process any more")

    def _close(self, name: str) -> None:
        if name in self._sessions:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._sessions.pop(name).close()
        self._load.forget(name)
        try:
            self._engine.close(name)
        except Exception:
            logging.getLogger(__name__).exception("the model failed to close a session")

    def _stop(self) -> None:
        self._is_stopped = True
        for name in list(self._sessions):
            self._forget(name)


def _only_picture(address: SlotAddress) -> Picture:
    try:
        slot = address.attach()
    except FileNotFoundError as error:
        raise SessionFailedError("a portrait was taken back before it was encoded") from error
    try:
        taken = slot.read()
    finally:
        slot.close()
    if taken is None:
        raise SessionFailedError("a portrait was announced but not handed over")
    return taken[0]
