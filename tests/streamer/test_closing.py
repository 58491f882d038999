import asyncio
from typing import Any

from streamer.closing import end_connection


class Part:
    def __init__(self, *, hangs: bool = False, fails: bool = False) -> None:
        self.transport: Any = None
        self.is_stopped = self.hangs = hangs
        self.fails = fails

    async def stop(self) -> None:
        self.is_stopped = True
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise RuntimeError("never started")


class Transceiver:
    def __init__(self, transport: Part | None) -> None:
        self.sender, self.receiver = Part(fails=True), Part(hangs=True)
        self.receiver.transport = transport


class Stuck:
    """A connection that waits for ever, or fails, when it is closed."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails
        self.dtls, self.ice = Part(fails=True), Part()
        self.dtls.transport = self.ice
        self.transceivers = [Transceiver(None), Transceiver(self.dtls)]
        self.sctp = None

    def getTransceivers(self) -> list[Transceiver]:  # noqa: N802
        return self.transceivers

    async def close(self) -> None:
        if self.fails:
            raise AttributeError("no transport")
        await asyncio.Event().wait()


def test_a_connection_that_does_not_close_is_taken_apart() -> None:
    async def act() -> None:
        for fails in (True, False):
            stuck: Any = Stuck(fails=fails)
            await end_connection(stuck, 0.01)
            assert stuck.dtls.is_stopped
            assert stuck.ice.is_stopped
            assert all(one.sender.is_stopped for one in stuck.transceivers)

    asyncio.run(act())
