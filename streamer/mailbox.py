"""A mailbox of size one: the newest item waits, older ones are dropped and counted."""

import asyncio
import threading
from contextlib import suppress
from typing import Generic, TypeVar

from streamer.errors import StreamerError

Item = TypeVar("Item")


class MailboxClosedError(StreamerError):
    """Nothing will come any more."""


class Mailbox(Generic[Item]):
    """Hands the newest item from any thread to a coroutine; putting never waits.

    Attributes:
        num_put: items offered.
        num_dropped: items that were replaced, or left over at the end, before anyone took them.
    """

    def __init__(self) -> None:
        self.num_put = 0
        self.num_dropped = 0
        self._items: list[Item] = []
        self._error: StreamerError | None = None
        self._waiters: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._error is not None

    def put(self, item: Item) -> None:
        """Replace what waits; after `close` the item is only counted. From any thread."""
        with self._lock:
            self.num_put += 1
            if self._error is not None:
                self.num_dropped += 1
                return
            self.num_dropped += len(self._items)
            self._items = [item]
            self._wake()

    async def get(self) -> Item:
        """The newest item; waits for one.

        Raises:
            StreamerError: the mailbox was closed; `MailboxClosedError` where no other was named.
        """
        while True:
            with self._lock:
                if self._error is not None:
                    raise self._error.with_traceback(None)
                if self._items:
                    return self._items.pop()
                loop = asyncio.get_running_loop()
                waiter = loop.create_future()
                self._waiters[waiter] = loop
            try:
                await waiter
            finally:
                with self._lock:
                    self._waiters.pop(waiter, None)

    def close(self, error: StreamerError | None = None) -> None:
        """Drop what waits and have all `get` raise; the first error stays. From any thread."""
        with self._lock:
            if self._error is None:
                self._error = error or MailboxClosedError("nothing more comes: this was closed")
            self.num_dropped += len(self._items)
            self._items = []
            self._wake()

    def _wake(self) -> None:
        for waiter, loop in self._waiters.items():
            with suppress(RuntimeError):  # that loop has ended, and its waiter with it
                loop.call_soon_threadsafe(_resolve, waiter)
        self._waiters.clear()


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
