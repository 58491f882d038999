"""One replica on a Ray cluster as the event loop sees it: the `Compute` of a far accelerator.

A replica that ends takes its sessions with it: their streams raise ComputeLostError, and whoever
opens them again brings the portrait along. Ray Serve starts the replica again by itself.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from itertools import chain, repeat
from typing import Any, Protocol

import numpy as np

from streamer.errors import ComputeLostError, SessionFailedError, StreamerError
from streamer.live import LiveResult, Picture, ReferenceAction, SessionSettings, TimedFrame
from streamer.mailbox import Mailbox, MailboxClosedError
from streamer.ray_replica import ReplicaRequest, Reply

_LOG = logging.getLogger(__name__)
_BACK_OFF_S = (0.2, 0.5, 1.0, 2.0)


class Replica(Protocol):
    """The way to one replica, whichever process it is in at the moment."""

    async def ask(self, kind: ReplicaRequest, *arguments: Any) -> Reply:
        """See `LiveReplica.ask`; waits for the replica while it is started.

        Raises:
            ComputeLostError: it ended, or cannot be reached.
        """
        ...

    async def live(self) -> None:
        """Wait until the replica ends."""
        ...


class ReplicaStream:
    """A `ComputeStream` with one frame on its way to the replica and one waiting at most."""

    def __init__(self, session: str, still: Picture, compute: "ReplicaCompute") -> None:
        self._session = session
        self._still = still
        self._compute = compute
        self._frames = Mailbox[TimedFrame]()
        self._results = Mailbox[LiveResult]()
        self._carrying = asyncio.create_task(self._carry())

    @property
    def still(self) -> Picture:
        """See `ComputeStream`."""
        return self._still

    @property
    def num_dropped(self) -> int:
        """See `ComputeStream`."""
        return self._frames.num_dropped

    def put(self, frame: TimedFrame) -> None:
        """See `ComputeStream`."""
        self._frames.put(frame)

    async def get(self) -> LiveResult:
        """See `ComputeStream`.

        Raises:
            ComputeLostError: the replica ended.
            SessionFailedError: the engine failed on this session.
            MailboxClosedError: the stream was closed meanwhile.
        """
        return await self._results.get()

    async def make_ready(self, settings: SessionSettings) -> None:
        """See `ComputeStream`."""
        await self._compute.make_ready(settings)

    async def update(self, settings: SessionSettings) -> None:
        """See `ComputeStream`."""
        await self._compute.ask("update", self._session, settings)

    async def reference(self, action: ReferenceAction) -> None:
        """See `ComputeStream`."""
        await self._compute.ask("reference", self._session, action)

    async def close(self) -> None:
        """See `ComputeStream`; a second time, or after a loss, does nothing."""
        if not self._results.is_closed:
            self.end()
            await self._compute.forget(self._session, self)

    def end(self, error: StreamerError | None = None) -> None:
        """Have `get` raise, and carry no frame any more."""
        self._frames.close()
        self._results.close(error)
        self._carrying.cancel()

    async def _carry(self) -> None:
        try:
            while True:
                frame = await self._frames.get()
                self._results.put(await self._compute.process(self._session, frame))
        except MailboxClosedError:
            return
        except StreamerError as error:
            self.end(error)
        except Exception as error:
            _LOG.exception("a frame could not be carried to its replica")
            self.end(SessionFailedError(f"a frame could not be sent ({type(error).__name__})"))


class ReplicaCompute:
    """The `Compute` of one replica; see `ComputePool` for several.

    Args:
        replica: started already, or on its way.
        clock: seconds, as `TimedFrame.times_s` has them.
        back_off_s: seconds before each try to reach a lost replica again; the last one repeats.
    """

    def __init__(
        self,
        replica: Replica,
        clock: Callable[[], float] = time.monotonic,
        back_off_s: tuple[float, ...] = _BACK_OFF_S,
    ) -> None:
        self._replica = replica
        self._clock = clock
        self._back_off_s = back_off_s
        self._is_ready = False
        self._lost = asyncio.Event()
        self._streams: dict[str, ReplicaStream] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._told: list[Callable[[bool], Awaitable[None]]] = []

    @property
    def is_ready(self) -> bool:
        """See `Compute`."""
        return self._is_ready

    async def start(self) -> None:
        """Wait until the replica answers.

        Raises:
            ComputeLostError: it ended meanwhile.
        """
        await self._replica.ask("reset")
        self._lost.clear()
        self._is_ready = True
        self._tasks = [asyncio.create_task(self._watch())]

    async def add_portrait(self, image: Picture, face: int | None = None) -> str:
        """See `LiveEngine.add_portrait`.

        Raises:
            ComputeLostError: the replica is not there.
            PortraitError: no face in it, or several and `face` is None.
        """
        name: str = await self.ask("add_portrait", image, face)
        return name

    async def open(self, session: str, settings: SessionSettings) -> ReplicaStream:
        """See `LiveEngine.open`.

        Raises:
            ComputeLostError: the replica is not there.
            PortraitError: the portrait is not known in this replica.
        """
        await self.make_ready(settings)
        try:
            still = await self.ask("open", session, settings)
        except asyncio.CancelledError:  # it may be open there by now, or soon
            self._closing.add(closing := asyncio.create_task(self._close(session)))
            closing.add_done_callback(self._closing.discard)
            raise
        if not self._is_ready:  # lost while the answer was on its way
            raise _lost()
        writable = np.require(still, requirements="W")
        stream = self._streams[session] = ReplicaStream(session, writable, self)
        return stream

    def on_change(self, told: Callable[[bool], Awaitable[None]]) -> None:
        """See `Compute`."""
        self._told.append(told)

    async def stop(self) -> None:
        """Leave the replica, whose owner ends it; open streams raise ComputeLostError."""
        tasks, self._tasks = [*self._tasks, *self._closing], []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lose()

    async def make_ready(self, settings: SessionSettings) -> None:
        """See `LiveEngine.make_ready`; nothing is asked where there is nothing to do.

        Raises:
            ComputeLostError: the replica is not there.
            PortraitError: a portrait is not known in this replica.
        """
        if settings.controls.is_dressed:
            await self.ask("make_ready", settings)

    async def ask(self, kind: ReplicaRequest, *arguments: Any) -> Any:
        """What the engine answers.

        Raises:
            ComputeLostError: the replica is not there, or ended over it.
            StreamerError: what the engine said.
        """
        return (await self._asked(kind, *arguments)).value

    async def process(self, session: str, frame: TimedFrame) -> LiveResult:
        """See `LiveEngine.process`; the replica's times are put on this machine's clock.

        Raises:
            ComputeLostError: the replica is not there, or does not know the session any more.
            SessionFailedError: the engine failed on the frame; the session is closed there.
        """
        sent_s = self._clock()
        reply = await self._asked("process", session, frame)
        answered_s = self._clock()
        result: LiveResult = reply.value
        # Both ways are taken to be equally long, as RFC 5905 section 8 does.
        shift_s = (sent_s - reply.clock_s[0] + answered_s - reply.clock_s[1]) / 2
        times_s = {
            stage: time_s if stage in frame.times_s else time_s + shift_s
            for stage, time_s in result.times_s.items()
        }
        image = np.require(result.image, requirements="W")
        return replace(result, image=image, times_s=times_s)

    async def forget(self, session: str, stream: ReplicaStream) -> None:
        """End a session there, if the replica is still the one it was opened in."""
        if self._streams.get(session) is stream:
            del self._streams[session]
            await self._close(session)

    async def _close(self, session: str) -> None:
        try:
            await self.ask("close", session)
        except StreamerError:
            _LOG.info("a session could not be closed in its replica", exc_info=True)

    async def _asked(self, kind: ReplicaRequest, *arguments: Any) -> Reply:
        if not self._is_ready:
            raise _lost()
        try:
            reply = await self._replica.ask(kind, *arguments)
        except ComputeLostError:
            self._lose()
            raise
        if reply.error is not None:
            raise reply.error
        return reply

    def _lose(self) -> None:
        self._is_ready = False
        self._lost.set()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.end(_lost())

    async def _watch(self) -> None:
        while True:
            await _first_of(self._replica.live(), self._lost.wait())
            self._lose()
            _LOG.error("a replica was lost; Ray Serve starts it again")
            await self._tell(False)
            for wait_s in chain(self._back_off_s, repeat(self._back_off_s[-1])):
                await asyncio.sleep(wait_s)
                if await self._is_back():
                    break
            self._lost.clear()
            self._is_ready = True
            await self._tell(True)

    async def _is_back(self) -> bool:
        try:
            await self._replica.ask("reset")
        except ComputeLostError:
            return False
        return True

    async def _tell(self, is_ready: bool) -> None:
        for told in list(self._told):
            try:
                await told(is_ready)
            except Exception:
                _LOG.exception("a listener of a replica failed")


def _lost() -> ComputeLostError:
    return ComputeLostError("the model's replica ended and is started again; wait a few seconds")


async def _first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
