"""One session's way to the compute process and back."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from streamer.compute_child import SlotAddress
from streamer.errors import ComputeLostError, SessionFailedError, StreamerError
from streamer.frame_slot import FrameSlot
from streamer.live import LiveResult, Picture, ReferenceAction, SessionSettings, TimedFrame
from streamer.load_ladder import is_kept
from streamer.mailbox import Mailbox

if TYPE_CHECKING:
    from streamer.compute_link import ComputeLink


class SlotStream:
    """A `ComputeStream` over two slots of shared memory.

    Attributes:
        num_results: that came back.
    """

    def __init__(self, session: str, slots: tuple[FrameSlot, FrameSlot], link: "ComputeLink"):
        self._session = session
        self._frames, self._results = slots
        self._link = link
        self._mailbox = Mailbox[LiveResult]()
        self._still: Picture | None = None
        self._awaited: int | None = None
        self._keep_every = 1.0
        self._num_skipped = 0
        self.num_results = 0

    @property
    def is_waiting(self) -> bool:
        """Whether a frame has no result yet."""
        return self._awaited is not None and not self._mailbox.is_closed

    @property
    def is_at_work(self) -> bool:
        """Whether the model has a frame of this session in hand, or died over it."""
        return not self._mailbox.is_closed and self._frames.is_at_work

    @property
    def still(self) -> Picture:
        """See `ComputeStream`."""
        if self._still is None:
            raise SessionFailedError("this session was not opened")
        return self._still

    @property
    def num_put(self) -> int:
        """Frames offered."""
        return self._frames.num_put + self._num_skipped

    @property
    def num_dropped(self) -> int:
        """Of those, replaced by a newer one before the model took them, or left out under load."""
        return self._frames.num_dropped + self._num_skipped

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
        await self.make_ready(settings)
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
        if self._mailbox.is_closed:
            return
        if not is_kept(frame.number, self._keep_every):
            self._num_skipped += 1
            return
        header = {"number": frame.number, "times_s": dict(frame.times_s)}
        self._frames.write(frame.image, header)
        self._awaited = frame.number
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
        self._keep_every = header.pop("keep_every")
        self.num_results += 1
        if header["number"] == self._awaited:
            self._awaited = None
        self._mailbox.put(LiveResult(image=image, **header))
        return True

    async def make_ready(self, settings: SessionSettings) -> None:
        """See `ComputeStream`; nothing is asked where there is nothing to do."""
        if settings.controls.is_dressed:
            await self._link.ask("make_ready", self._session, settings)

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
