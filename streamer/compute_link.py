"""One life of the compute process as the event loop sees it, and the sessions' ways to it."""

import asyncio
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from streamer.compute_child import (
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
from streamer.live import LiveResult, Picture, ReferenceAction, SessionSettings, TimedFrame
from streamer.mailbox import Mailbox

_UNASKED = -1


class SlotStream:
    """A `ComputeStream` over two slots of shared memory."""

    def __init__(self, session: str, slots: tuple[FrameSlot, FrameSlot], link: "ComputeLink"):
        self._session = session
        self._frames, self._results = slots
        self._link = link
        self._mailbox = Mailbox[LiveResult]()
        self._still: Picture | None = None

    @property
    def still(self) -> Picture:
        """See `ComputeStream`."""
        if self._still is None:
            raise SessionFailedError("this session was not opened")
        return self._still

    @property
    def num_put(self) -> int:
        """Frames offered."""
        return self._frames.num_put

    @property
    def num_dropped(self) -> int:
        """Of those, replaced by a newer one before the model took them."""
        return self._frames.num_dropped

    @property
    def num_results_dropped(self) -> int:
        """Results replaced by a newer one before `get` handed them out."""
        return self._mailbox.num_dropped

    async def open(self, settings: SessionSettings) -> None:
        """Begin the session there; afterwards the slots have no name that could stay behind."""
        addresses = [
            SlotAddress(name=slot.name, capacity=slot.capacity)
            for slot in (self._frames, self._results)
        ]
        await self._link.ask("open", self._session, settings, *addresses)
        self._frames.unlink()
        self._results.unlink()
        taken = self._results.read()
        if taken is None:
            raise SessionFailedError("the model gave no still portrait for this session")
        self._still = taken[0]

    def put(self, frame: TimedFrame) -> None:
        """See `ComputeStream`; a frame for a session that ended is dropped.

        Raises:
            FrameSlotError: larger than what frames may be.
        """
        if not self._mailbox.is_closed:
            header = {"number": frame.number, "times_s": dict(frame.times_s)}
            self._frames.write(frame.image, header)
            self._link.ring()

    async def get(self) -> LiveResult:
        """See `ComputeStream`.

        Raises:
            ComputeLostError: the process died.
            SessionFailedError: the engine failed on this session.
            MailboxClosedError: the stream was closed meanwhile.
        """
        return await self._mailbox.get()

    def collect(self) -> bool:
        """Fetch the newest result, if there is one."""
        if self._still is None or self._mailbox.is_closed:
            return False
        if (taken := self._results.read()) is None:
            return False
        image, header = taken
        self._mailbox.put(LiveResult(image=image, **header))
        return True

    async def update(self, settings: SessionSettings) -> None:
        """See `ComputeStream`."""
        await self._link.ask("update", self._session, settings)

    async def reference(self, action: ReferenceAction) -> None:
        """See `ComputeStream`."""
        await self._link.ask("reference", self._session, action)

    async def close(self) -> None:
        """See `ComputeStream`; a second time, or after a loss, does nothing."""
        if self._mailbox.is_closed:
            return
        self.end()
        with suppress(ComputeLostError):
            await asyncio.shield(self._link.forget(self._session, self))

    def end(self, error: StreamerError | None = None) -> None:
        """Have `get` raise, and give the memory back."""
        if not self._mailbox.is_closed:
            self._mailbox.close(error)
            self._frames.close()
            self._results.close()


class ComputeLink:
    """Starts one compute process, asks it, notices its end.

    Args:
        factory: of its engine.
        on_lost: called once when it ends without having been told to.
    """

    def __init__(self, factory: EngineFactory, on_lost: Callable[["ComputeLink"], None]) -> None:
        self.num_results = 0
        self._factory = factory
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._is_over = False
        self._requests: Connection | None = None
        self._bell: Bell | None = None
        self._process: multiprocessing.context.SpawnProcess | None = None
        self._readers: list[int] = []
        self._asked: dict[int, asyncio.Future[Any]] = {}
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
        warm = self._asked[READY] = self._loop.create_future()
        try:
            await _finished(asyncio.ensure_future(asyncio.to_thread(self._process.start)))
            self._listen(self._requests.fileno(), self._read_answers)
            self._listen(self._bell.fileno(), self._read_results)
            self._listen(self._process.sentinel, self._lose)
            child_requests.close()  # from here on, its end is the end of the connection
            await warm
        finally:
            self._asked.pop(READY, None)
            child_requests.close()
            child_bell.close()

    async def ask(self, kind: RequestKind, *arguments: object) -> Any:
        """Ask the process for something and wait for its answer.

        Raises:
            ComputeLostError: the process died.
            StreamerError: what the engine said.
        """
        if self._is_over or self._requests is None:
            raise _lost()
        self._num_asked += 1
        request = Request(number=self._num_asked, kind=kind, arguments=arguments)
        answer = self._asked[request.number] = self._loop.create_future()
        try:
            self._requests.send(request)
        except OSError:
            self._lose()
        try:
            return await answer
        finally:
            self._asked.pop(request.number, None)

    async def add_portrait(self, image: Picture, face: int | None) -> str:
        """See `LiveEngine.add_portrait`; the picture goes through shared memory."""
        slot = FrameSlot.create(image.nbytes)
        try:
            slot.write(image, {})
            address = SlotAddress(name=slot.name, capacity=slot.capacity)
            known: str = await self.ask("add_portrait", address, face)
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
            return
        answer = self._asked.get(message.number)
        if answer is None or answer.done():
            return
        if message.error is None:
            answer.set_result(message.value)
        else:
            answer.set_exception(message.error)

    def _read_results(self) -> None:
        if self._bell is not None:
            self._bell.silence()
        self.num_results += sum(stream.collect() for stream in self._streams.values())

    def _lose(self) -> None:
        if not self._is_over:
            self._give_up()
            self._on_lost(self)

    def _give_up(self) -> None:
        self._is_over = True
        for descriptor in self._readers:
            self._loop.remove_reader(descriptor)
        self._readers.clear()
        for stream in self._streams.values():
            stream.end(_lost())
        self._streams.clear()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(_lost())


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
