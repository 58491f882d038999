"""One life of the compute process as the event loop sees it."""

import asyncio
import logging
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from streamer.compute_child import (
    BESIDE,
    READY,
    Answer,
    EngineFactory,
    Request,
    RequestKind,
    SessionFailed,
    SlotAddress,
    serve,
)
from streamer.errors import ComputeLostError, SessionFailedError, StreamerError
from streamer.frame_slot import Bell, FrameSlot
from streamer.live import Picture, SessionSettings
from streamer.slot_stream import SlotStream
from streamer.watchdog import Patience, Suspect, Watchdog, Work

_UNASKED = -1


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A request without an answer; `about` is the session or the portrait."""

    answer: asyncio.Future[Any]
    work: Work
    about: str


class ComputeLink:
    """Starts one compute process, asks it, notices its end, and ends it when it hangs.

    Args:
        factory: of its engine.
        on_lost: called once when it ends without having been told to.
        patience: how long it may be silent with work before it.
        clock: seconds, for that.

    Attributes:
        num_results: that came back.
        suspect: what it worked for when it was lost.
    """

    def __init__(
        self,
        factory: EngineFactory,
        on_lost: Callable[["ComputeLink"], None],
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.num_results = 0
        self.suspect = Suspect()
        self._factory = factory
        self._on_lost = on_lost
        self._patience = patience or Patience()
        self._clock = clock
        self._watchdog = Watchdog(self._patience, clock())
        self._check: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._is_over = False
        self._requests: Connection | None = None
        self._bell: Bell | None = None
        self._process: multiprocessing.context.SpawnProcess | None = None
        self._readers: list[int] = []
        self._asked: dict[int, _Asked] = {}
        self._num_asked = 0
        self._streams: dict[str, SlotStream] = {}

    @property
    def is_over(self) -> bool:
        """Whether the process has ended, or was told to."""
        return self._is_over

    @property
    def pid(self) -> int | None:
        """Of the process, once started."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process and wait until its engine is warm.

        Raises:
            ComputeLostError: it died meanwhile.
            StreamerError: what kept the engine from being made.
        """
        context = multiprocessing.get_context("spawn")
        self._requests, child_requests = context.Pipe()
        self._bell, child_bell = Bell.pair()
        arguments = (self._factory, child_requests, child_bell)
        self._process = context.Process(target=serve, args=arguments, name="compute", daemon=True)
        warm = self._loop.create_future()
        self._asked[READY] = _Asked(answer=warm, work="start", about="")
        try:
            await _finished(asyncio.ensure_future(asyncio.to_thread(self._process.start)))
            self._listen(self._requests.fileno(), self._read_answers)
            self._listen(self._bell.fileno(), self._read_results)
            self._listen(self._process.sentinel, self._lose)
            child_requests.close()  # from here on, its end is the end of the connection
            self._watch()
            await warm
        finally:
            self._asked.pop(READY, None)
            child_requests.close()
            child_bell.close()

    async def ask(self, kind: RequestKind, about: str, *arguments: object) -> Any:
        """Ask the process for something and wait for its answer.

        Args:
            kind: of the request.
            about: the session, or the portrait's hash.
            arguments: that the process is given beside the session.

        Raises:
            ComputeLostError: the process died.
            StreamerError: what the engine said.
        """
        if self._is_over or self._requests is None:
            raise _lost()
        self._num_asked += 1
        given = arguments if kind == "add_portrait" else (about, *arguments)
        request = Request(number=self._num_asked, kind=kind, arguments=given)
        answer = self._loop.create_future()
        work: Work = "portraits" if kind in BESIDE else "frames"
        self._asked[request.number] = _Asked(answer=answer, work=work, about=about)
        try:
            self._requests.send(request)
        except OSError:
            self._lose()
        try:
            return await answer
        finally:
            self._asked.pop(request.number, None)

    async def add_portrait(self, image: Picture, face: int | None, about: str = "") -> str:
        """See `LiveEngine.add_portrait`; the picture goes through shared memory."""
        slot = FrameSlot.create(image.nbytes)
        try:
            slot.write(image, {})
            address = SlotAddress(name=slot.name, capacity=slot.capacity)
            known: str = await self.ask("add_portrait", about, address, face)
            return known
        finally:
            slot.close()

    async def open(
        self, session: str, settings: SessionSettings, capacities: tuple[int, int]
    ) -> SlotStream:
        """See `LiveEngine.open`.

        Args:
            session: its name, of no other open one.
            settings: to begin with.
            capacities: bytes of the largest frame and of the largest result.
        """
        if session in self._streams:
            raise SessionFailedError(f"session {session:.40} is open already")
        frames = FrameSlot.create(capacities[0])
        try:
            slots = frames, FrameSlot.create(capacities[1])
        except StreamerError:
            frames.close()
            raise
        stream = self._streams[session] = SlotStream(session, slots, self)
        try:
            await stream.open(settings)
        except BaseException:
            self._streams.pop(session, None)
            stream.end()
            self._tell("close", session)  # also where only the waiting was cancelled
            raise
        return stream

    async def forget(self, session: str, stream: SlotStream) -> None:
        """End a session there; its name is free again afterwards."""
        try:
            await self.ask("close", session)
        finally:
            if self._streams.get(session) is stream:  # it may have failed and been opened anew
                del self._streams[session]

    def ring(self) -> None:
        """Tell the process that a frame waits."""
        if self._bell is not None and not self._is_over:
            self._bell.ring()

    async def end(self, patience_s: float) -> None:
        """End the process, by force after that many seconds; nothing of it stays behind."""
        self._tell("stop")
        self._give_up()
        if self._process is not None and self._process.pid is not None:
            reaping = asyncio.ensure_future(asyncio.to_thread(_reap, self._process, patience_s))
            await _finished(reaping)
        self._process = None
        for thing in (self._requests, self._bell):
            if thing is not None:
                thing.close()
        self._requests = self._bell = None

    def _tell(self, kind: RequestKind, *arguments: object) -> None:
        if not self._is_over and self._requests is not None:
            with suppress(OSError):
                self._requests.send(Request(number=_UNASKED, kind=kind, arguments=arguments))

    def _listen(self, descriptor: int, heard: Callable[[], None]) -> None:
        self._loop.add_reader(descriptor, heard)
        self._readers.append(descriptor)

    def _read_answers(self) -> None:
        try:
            while self._requests is not None and self._requests.poll():
                self._take(self._requests.recv())
        except (EOFError, OSError):
            self._lose()

    def _take(self, message: Answer | SessionFailed) -> None:
        if isinstance(message, SessionFailed):
            stream = self._streams.pop(message.session, None)
            if stream is not None:
                stream.end(SessionFailedError(message.sentence))
            self._watchdog.hear("frames", self._clock())
            return
        asked = self._asked.get(message.number)
        if asked is None:
            return
        self._watchdog.hear(asked.work, self._clock())
        if asked.answer.done():
            return
        if message.error is None:
            asked.answer.set_result(message.value)
        else:
            asked.answer.set_exception(message.error)

    def _read_results(self) -> None:
        if self._bell is not None:
            self._bell.silence()
        num_results = sum(stream.collect() for stream in self._streams.values())
        self.num_results += num_results
        if num_results:
            self._watchdog.hear("frames", self._clock())

    def _watch(self) -> None:
        """End a process that does nothing, again and again until it is over."""
        if self._is_over:
            return
        self._check = self._loop.call_later(self._patience.check_s, self._watch)
        waiting = {asked.work for asked in self._asked.values()}
        if any(stream.is_waiting for stream in self._streams.values()):
            waiting.add("frames")
        work = self._watchdog.overdue(waiting, self._clock())
        if work is not None and self._process is not None:
            logging.getLogger(__name__).error(
                "the compute process did nothing for %g s with work before it (%s); it is killed",
                self._patience.of(work),
                work,
            )
            self._process.kill()
            self._lose()

    def _suspected(self) -> Suspect:
        """Encodings are rare, so one under way is suspected before a frame in hand."""
        asked = list(self._asked.values())
        suspects = [Suspect(name=one.about) for one in asked if one.work == "portraits"]
        suspects += [
            Suspect(name=name, num_results=stream.num_results)
            for name, stream in self._streams.items()
            if stream.is_at_work
        ]
        suspects += [Suspect(name=one.about) for one in asked if one.work == "frames"]
        return next(iter(suspects), Suspect())

    def _lose(self) -> None:
        if not self._is_over:
            self.suspect = self._suspected()
            self._give_up()
            self._on_lost(self)

    def _give_up(self) -> None:
        self._is_over = True
        if self._check is not None:
            self._check.cancel()
        for descriptor in self._readers:
            self._loop.remove_reader(descriptor)
        self._readers.clear()
        for stream in self._streams.values():
            stream.end(_lost())
        self._streams.clear()
        for asked in self._asked.values():
            if not asked.answer.done():
                asked.answer.set_exception(_lost())


def _lost() -> ComputeLostError:
    return ComputeLostError("the model's process ended and is started again; wait a few seconds")


def _reap(process: multiprocessing.context.SpawnProcess, patience_s: float) -> None:
    process.join(patience_s)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


async def _finished(work: asyncio.Future[None]) -> None:
    """Wait for what cannot be interrupted, and only then let a cancellation through."""
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
