import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streamer.compute_child import EngineFactory
from streamer.errors import ComputeLostError, PortraitError, SessionFailedError
from streamer.live import LiveResult, SessionSettings, TimedFrame
from streamer.mailbox import MailboxClosedError
from streamer.ray_compute import ReplicaCompute
from streamer.ray_replica import LiveReplica, ReplicaRequest, Reply
from stub_engine import FAIL, frame, portrait

FACTORY = EngineFactory(path="stub_engine:make", arguments=("",))


class NearReplica:
    """What Ray's handle is, with the replica in this process: it can be killed and held."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.asked: list[ReplicaRequest] = []
        self.flying: set[asyncio.Future[Reply]] = set()
        self.has_frame = asyncio.Event()
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.rise()

    def rise(self) -> None:
        self.body = LiveReplica(FACTORY, clock=self.clock)
        self.ended = asyncio.Event()

    def kill(self) -> None:
        self.ended.set()
        for request in self.flying:
            request.cancel()

    async def ask(self, kind: ReplicaRequest, *arguments: Any) -> Reply:
        self.asked.append(kind)
        if self.ended.is_set():
            raise ComputeLostError("it ended")
        request = asyncio.ensure_future(self._through(kind, *arguments))
        self.flying.add(request)
        try:
            return await request
        except asyncio.CancelledError:
            if not self.ended.is_set():
                raise
            raise ComputeLostError("it ended") from None
        finally:
            self.flying.discard(request)

    async def _through(self, kind: ReplicaRequest, *arguments: Any) -> Reply:
        if kind == "process":
            self.has_frame.set()
            await self.is_open.wait()
        return await self.body.ask(kind, *arguments)

    async def live(self) -> None:
        await self.ended.wait()


@asynccontextmanager
async def running(
    clock: Callable[[], float] = lambda: 0.0, far_clock: Callable[[], float] = lambda: 0.0
) -> AsyncIterator[tuple[NearReplica, ReplicaCompute]]:
    """A replica that answers, and the way to it."""
    near = NearReplica(far_clock)
    compute = ReplicaCompute(near, clock, back_off_s=(0.0,))
    await compute.start()
    try:
        yield near, compute
    finally:
        await compute.stop()


async def opened(compute: ReplicaCompute) -> SessionSettings:
    """Settings with a portrait that the replica knows."""
    return SessionSettings(portrait=await compute.add_portrait(portrait()))


def test_one_frame_is_on_its_way_the_newest_waits_and_the_others_are_counted() -> None:
    async def scenario() -> None:
        async with running() as (near, compute):
            stream = await compute.open("a", await opened(compute))
            assert stream.still.tolist() == portrait().tolist()
            near.is_open.clear()
            for number in range(10):
                stream.put(frame(number))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert near.asked.count("process") == 1
            near.is_open.set()
            results = [(await stream.get()).number for _ in range(2)]
            assert results[1] == 9
            assert near.asked.count("process") == 2
            assert stream.num_dropped == 8

    asyncio.run(scenario())


def test_a_replica_that_ends_is_told_once_to_each_of_its_sessions_and_serves_again() -> None:
    async def scenario() -> None:
        async with running() as (near, compute):
            told = asyncio.Queue[bool]()
            compute.on_change(told.put)
            settings = await opened(compute)
            streams = [await compute.open(name, settings) for name in "ab"]
            near.is_open.clear()
            streams[0].put(frame(0))
            waiting = [asyncio.create_task(stream.get()) for stream in streams]
            await near.has_frame.wait()
            near.kill()
            for task in waiting:
                with pytest.raises(ComputeLostError):
                    await task
            assert not compute.is_ready
            with pytest.raises(ComputeLostError):
                await compute.open("a", settings)
            near.rise()
            near.is_open.set()
            assert [await told.get(), await told.get()] == [False, True]
            await streams[0].close()
            assert "close" not in near.asked
            with pytest.raises(PortraitError):
                await compute.open("a", settings)
            assert await opened(compute) == settings
            stream = await compute.open("a", settings)
            stream.put(frame(5))
            assert (await stream.get()).number == 5

    asyncio.run(scenario())


def test_a_call_that_fails_on_its_way_ends_the_sessions_there_too() -> None:
    """As where the network fails: the replica is the same one afterwards."""

    async def scenario() -> None:
        async with running() as (near, compute):
            settings = await opened(compute)
            stream = await compute.open("a", settings)
            told = asyncio.Queue[bool]()
            compute.on_change(told.put)
            body, near.ask = near.ask, lost_once(near)  # type: ignore[method-assign]
            stream.put(frame(0))
            with pytest.raises(ComputeLostError):
                await stream.get()
            near.ask = body  # type: ignore[method-assign]
            assert [await told.get(), await told.get()] == [False, True]
            assert near.body._sessions == set()
            await (await compute.open("a", settings)).close()

    asyncio.run(scenario())


def lost_once(near: NearReplica) -> Any:
    """A way on which everything is lost."""

    async def ask(kind: ReplicaRequest, *arguments: Any) -> Reply:
        raise ComputeLostError("the network is gone")

    return ask


def test_a_frame_that_the_engine_fails_on_ends_its_session_alone() -> None:
    async def scenario() -> None:
        async with running() as (_, compute):
            settings = await opened(compute)
            streams = [await compute.open(name, settings) for name in "ab"]
            streams[0].put(frame(0, FAIL))
            with pytest.raises(SessionFailedError, match="asked to fail"):
                await streams[0].get()
            with pytest.raises(ComputeLostError):
                await streams[0].update(settings)
            assert compute.is_ready
            await streams[0].close()

    asyncio.run(scenario())


def test_controls_reach_the_session_and_wrong_portraits_are_told() -> None:
    async def scenario() -> None:
        async with running() as (_, compute):
            settings = await opened(compute)
            stream = await compute.open("a", settings)
            stronger = replace(settings.controls, strength=1.5)
            await stream.update(replace(settings, controls=stronger))
            await stream.reference("set")
            stream.put(frame(0))
            times_s = (await stream.get()).times_s
            assert (times_s["strength"], times_s["num_actions"]) == (1.5, 1.0)
            with pytest.raises(PortraitError):
                await stream.update(replace(settings, portrait="none"))
            with pytest.raises(PortraitError):
                await compute.add_portrait(portrait(0))
            with pytest.raises(SessionFailedError):
                await compute.add_portrait(portrait(255))

    asyncio.run(scenario())


def test_a_closed_stream_ends_its_session_and_takes_no_frame() -> None:
    async def scenario() -> None:
        async with running() as (near, compute):
            stream = await compute.open("a", await opened(compute))
            await stream.close()
            await stream.close()
            assert near.asked.count("close") == 1
            assert near.body._sessions == set()
            stream.put(frame(0))
            with pytest.raises(MailboxClosedError):
                await stream.get()
            assert "process" not in near.asked

    asyncio.run(scenario())


def test_times_of_a_machine_with_another_clock_are_put_on_ours() -> None:
    """The replica's clock is 1000 s ahead; each way takes 2 s, the work 1 s."""
    reply = Reply(
        value=LiveResult(
            image=np.zeros((1, 1, 3), np.uint8),
            number=0,
            face="tracked",
            times_s={"captured": 9.0, "taken": 1012.0, "model_done": 1013.0},
        ),
        clock_s=(1012.0, 1013.0),
    )

    class Far:
        async def ask(self, kind: ReplicaRequest, *arguments: Any) -> Reply:
            return reply

        async def live(self) -> None:
            await asyncio.Event().wait()

    async def scenario() -> LiveResult:
        ours = iter((10.0, 15.0))
        compute = ReplicaCompute(Far(), lambda: next(ours))
        await compute.start()
        times_s = {"captured": 9.0}
        sent = TimedFrame(image=np.zeros((1, 1, 3), np.uint8), number=0, times_s=times_s)
        result = await compute.process("a", sent)
        await compute.stop()
        return result

    assert asyncio.run(scenario()).times_s == {"captured": 9.0, "taken": 12.0, "model_done": 13.0}


def test_a_replica_whose_engine_hangs_calls_itself_unhealthy() -> None:
    now = iter((0.0, 61.0))
    body = LiveReplica(FACTORY, hang_s=60.0, clock=lambda: next(now))
    asyncio.run(body.check_health())
    body._began_s = 0.0
    asyncio.run(body.check_health())
    with pytest.raises(RuntimeError):
        asyncio.run(body.check_health())


def test_frames_in_memory_that_cannot_be_written_reach_the_engine_writable() -> None:
    async def scenario() -> bool:
        body = LiveReplica(FACTORY)
        seen: list[bool] = []
        process = body._engine.process

        def noting(session: str, taken: TimedFrame) -> LiveResult:
            seen.append(bool(taken.image.flags.writeable))
            return process(session, taken)

        body._engine.process = noting  # type: ignore[method-assign]
        name = (await body.ask("add_portrait", portrait(), None)).value
        await body.ask("open", "a", SessionSettings(portrait=name))
        sent = frame(0)
        sent.image.flags.writeable = False
        assert (await body.ask("process", "a", sent)).error is None
        return seen == [True]

    assert asyncio.run(scenario())


def test_frames_go_on_while_a_portrait_is_encoded() -> None:
    async def scenario() -> None:
        body = LiveReplica(FACTORY)
        name = (await body.ask("add_portrait", portrait(), None)).value
        await body.ask("open", "a", SessionSettings(portrait=name))
        is_done = threading.Event()
        body._requests["add_portrait"] = lambda *_: is_done.wait(60)
        encoding = asyncio.ensure_future(body.ask("add_portrait", portrait(8), None))
        assert (await body.ask("process", "a", frame(0))).error is None
        assert not encoding.done()
        is_done.set()
        assert (await encoding).value is True

    asyncio.run(scenario())


def test_a_reply_tells_when_it_was_asked_for_and_made_on_the_replica_s_clock() -> None:
    ticks = itertools.count()
    body = LiveReplica(FACTORY, clock=lambda: float(next(ticks)))
    assert asyncio.run(body.ask("reset")).clock_s == (0.0, 2.0)  # 1 is when work began


def test_an_opening_given_up_half_way_leaves_no_session_in_the_replica() -> None:
    async def scenario() -> None:
        async with running() as (near, compute):
            settings = await opened(compute)
            opening = asyncio.ensure_future(compute.open("a", settings))
            while "open" not in near.asked:  # noqa: ASYNC110
                await asyncio.sleep(0)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await asyncio.gather(*compute._closing)
            assert "close" in near.asked
            assert near.body._sessions == set()
            stream = await compute.open("a", settings)
            stream.put(frame(0))
            assert (await stream.get()).number == 0

    asyncio.run(scenario())
