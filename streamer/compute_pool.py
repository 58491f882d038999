"""Several accelerators behind one `Compute`: a session goes to the least loaded and stays there."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from streamer.errors import ComputeLostError, ModelError, PortraitError, StreamerError
from streamer.live import (
    CanFail,
    Compute,
    ComputeStream,
    LiveResult,
    Picture,
    ReferenceAction,
    SessionSettings,
    TimedFrame,
)

_LOG = logging.getLogger(__name__)


class PooledStream:
    """A `ComputeStream` of one member of a pool.

    Args:
        member: number of the member that the session stays with.
        stream: the member's own.
        pool: which knows the portraits and counts the sessions.
    """

    def __init__(self, member: int, stream: ComputeStream, pool: "ComputePool") -> None:
        self.member = member
        self._stream = stream
        self._pool = pool
        self._is_closed = False

    @property
    def still(self) -> Picture:
        """See `ComputeStream`."""
        return self._stream.still

    @property
    def num_dropped(self) -> int:
        """See `ComputeStream`."""
        return self._stream.num_dropped

    def put(self, frame: TimedFrame) -> None:
        """See `ComputeStream`."""
        self._stream.put(frame)

    async def get(self) -> LiveResult:
        """See `ComputeStream`."""
        return await self._stream.get()

    async def make_ready(self, settings: SessionSettings) -> None:
        """See `ComputeStream`; a portrait that only another member knows is added here first."""
        try:
            await self._stream.make_ready(settings)
        except PortraitError:
            await self._pool.teach(self.member, settings)
            await self._stream.make_ready(settings)

    async def update(self, settings: SessionSettings) -> None:
        """See `ComputeStream`; a portrait that only another member knows is added here first."""
        try:
            await self._stream.update(settings)
        except PortraitError:
            await self._pool.teach(self.member, settings)
            await self._stream.make_ready(settings)
            await self._stream.update(settings)

    async def reference(self, action: ReferenceAction) -> None:
        """See `ComputeStream`."""
        await self._stream.reference(action)

    async def close(self) -> None:
        """See `ComputeStream`; the member's place is free at once."""
        if not self._is_closed:
            self._is_closed = True
            self._pool.release(self.member)
        await self._stream.close()


class ComputePool:
    """The `Compute` of several accelerators.

    Args:
        members: one for each.
        max_portraits: pictures kept to be added where a session needs them, the latest.
    """

    def __init__(self, members: Sequence[Compute], max_portraits: int = 32) -> None:
        self._members = list(members)
        self._max_portraits = max_portraits
        self._num_sessions = [0] * len(self._members)
        self._portraits: dict[str, tuple[Picture, int | None]] = {}
        self._told: list[Callable[[bool], Awaitable[None]]] = []
        self._was_ready = False
        for member in self._members:
            member.on_change(self._hear)

    @property
    def is_ready(self) -> bool:
        """Whether any member is."""
        return any(member.is_ready for member in self._members)

    @property
    def failure(self) -> str:
        """Why no member is started any more; empty while there is hope for one."""
        reasons = [one.failure if isinstance(one, CanFail) else "" for one in self._members]
        return reasons[0] if reasons and all(reasons) else ""

    @property
    def num_sessions(self) -> tuple[int, ...]:
        """Open sessions of each member."""
        return tuple(self._num_sessions)

    async def start(self) -> None:
        """Start all members; when one cannot be started, none stays.

        Raises:
            StreamerError: see the members' own `start`.
        """
        starts = [asyncio.ensure_future(member.start()) for member in self._members]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await self.stop()
            raise
        self._was_ready = True

    async def add_portrait(self, image: Picture, face: int | None = None) -> str:
        """See `LiveEngine.add_portrait`: encoded where the next session would go.

        Raises:
            ComputeLostError: no member is there.
            ModelError: nor will one come back.
            PortraitError: no face in it, or several and `face` is None.
        """
        for number in self._by_load():
            try:
                name = await self._members[number].add_portrait(image, face)
            except ComputeLostError:
                continue
            self._portraits.pop(name, None)
            self._portraits[name] = image, face  # the newest last
            while len(self._portraits) > self._max_portraits:
                del self._portraits[next(iter(self._portraits))]
            return name
        raise self._none_there()

    async def open(self, session: str, settings: SessionSettings) -> PooledStream:
        """See `LiveEngine.open`: at the member with the fewest sessions.

        Raises:
            ComputeLostError: no member is there.
            ModelError: nor will one come back.
            PortraitError: the portrait is not known.
        """
        for number in self._by_load():
            self._num_sessions[number] += 1
            try:
                stream = await self._opened(number, session, settings)
            except BaseException as error:
                self.release(number)
                if not isinstance(error, ComputeLostError):
                    raise
            else:
                return PooledStream(number, stream, self)
        raise self._none_there()

    async def teach(self, member: int, settings: SessionSettings) -> None:
        """Add the portraits of a session, which another member may have told the names of.

        Raises:
            ComputeLostError: the member is not there.
            PortraitError: a portrait is not known here any more.
        """
        for portrait in settings.portraits:
            picture = self._portraits.get(portrait)
            if picture is None:
                raise PortraitError("this portrait is not known here any more; choose it again")
            await self._members[member].add_portrait(*picture)

    def release(self, member: int) -> None:
        """Count one session less."""
        self._num_sessions[member] -= 1

    def on_change(self, told: Callable[[bool], Awaitable[None]]) -> None:
        """See `Compute`: False when the last ready member was lost, True when one is back."""
        self._told.append(told)

    async def stop(self) -> None:
        """See `Compute`."""
        self._was_ready = False
        ends = [member.stop() for member in self._members]
        for end in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(end, BaseException):
                _LOG.error("one of several compute processes did not stop well", exc_info=end)

    def _by_load(self) -> list[int]:
        ready = [number for number, member in enumerate(self._members) if member.is_ready]
        return sorted(ready, key=self._num_sessions.__getitem__)

    async def _opened(self, number: int, session: str, settings: SessionSettings) -> ComputeStream:
        member = self._members[number]
        try:
            return await member.open(session, settings)
        except PortraitError:
            await self.teach(number, settings)
            return await member.open(session, settings)

    async def _hear(self, _is_member_ready: bool) -> None:
        if self.is_ready == self._was_ready:
            _LOG.info("one of several compute processes changed; others serve on")
            return
        self._was_ready = self.is_ready
        for told in list(self._told):
            try:
                await told(self._was_ready)
            except Exception:
                _LOG.exception("a listener of the compute processes failed")

    def _none_there(self) -> StreamerError:
        if self.failure:
            return ModelError(self.failure)
        return ComputeLostError("the model is starting; wait a few seconds")
