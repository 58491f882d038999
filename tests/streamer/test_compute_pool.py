import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from live_stand_ins import FakeCompute, FakeStream
from streamer.compute import ComputeProcess
from streamer.compute_pool import ComputePool
from streamer.errors import ComputeLostError, ModelError, PortraitError
from streamer.live import Picture, SessionSettings
from stub_compute import changes, settings
from stub_engine import frame, portrait


class Forgetful(FakeStream):
    """A session that asks its member whether a portrait is known."""

    def __init__(self, opened: SessionSettings, member: "Member") -> None:
        super().__init__(opened)
        self.member = member

    async def update(self, settings: SessionSettings) -> None:
        self.member.check(settings)
        await super().update(settings)


class Member(FakeCompute):
    """An accelerator that knows only the portraits which were added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[str] = []
        self.faces: list[int | None] = []
        self.is_lost = False

    def check(self, settings: SessionSettings) -> None:
        if settings.portrait not in self.known:
            raise PortraitError("there is no such portrait")

    async def add_portrait(self, image: Picture, face: int | None = None) -> str:
        if self.is_lost:
            raise ComputeLostError("it is lost")
        self.known.append(await super().add_portrait(image, face))
        self.faces.append(face)
        return self.known[-1]

    async def open(self, session: str, settings: SessionSettings) -> FakeStream:
        if self.is_lost:
            raise ComputeLostError("it is lost")
        self.check(settings)
        self.streams[session] = Forgetful(settings, self)
        return self.streams[session]

    async def turn(self, is_ready: bool) -> None:
        assert self.told is not None
        self.is_ready = is_ready
        await self.told(is_ready)


def test_sessions_go_to_the_member_with_the_fewest_and_leave_room_when_they_close() -> None:
    async def scenario() -> None:
        pool = ComputePool([Member(), Member(), Member()])
        opened = SessionSettings(portrait=await pool.add_portrait(portrait()))
        streams = [await pool.open(f"{n}", opened) for n in range(6)]
        assert [stream.member for stream in streams] == [0, 1, 2, 0, 1, 2]
        await streams[4].close()
        await streams[4].close()
        assert pool.num_sessions == (2, 1, 2)
        assert (await pool.open("6", opened)).member == 1

    asyncio.run(scenario())


def test_a_portrait_is_added_once_and_only_where_a_session_shows_it() -> None:
    async def scenario() -> None:
        members = [Member(), Member(), Member()]
        pool = ComputePool(members)
        first = SessionSettings(portrait=await pool.add_portrait(portrait(7), 2))
        second = SessionSettings(portrait=await pool.add_portrait(portrait(8)))
        streams = [await pool.open(f"{n}", first) for n in range(2)]
        assert [member.known.count(first.portrait) for member in members] == [1, 1, 0]
        assert members[1].faces == [2]
        await streams[1].update(second)
        await streams[1].update(first)
        assert [member.known.count(second.portrait) for member in members] == [1, 1, 0]
        assert members[1].streams["1"].settings == first

    asyncio.run(scenario())


def test_a_portrait_that_nobody_added_is_refused_and_takes_no_place() -> None:
    async def scenario() -> None:
        pool = ComputePool([Member(), Member()], max_portraits=1)
        dropped = SessionSettings(portrait=await pool.add_portrait(portrait(7)))
        await pool.add_portrait(portrait(8))
        await pool.open("a", dropped)
        with pytest.raises(PortraitError):
            await pool.open("b", dropped)  # the other member never heard of it
        assert pool.num_sessions == (1, 0)

    asyncio.run(scenario())


def test_a_member_that_is_lost_or_not_ready_is_passed_over() -> None:
    async def scenario() -> None:
        members = [Member(), Member(), Member()]
        pool = ComputePool(members)
        members[0].is_ready = False
        members[1].is_lost = True
        opened = SessionSettings(portrait=await pool.add_portrait(portrait()))
        streams = [await pool.open(f"{n}", opened) for n in range(2)]
        assert [stream.member for stream in streams] == [2, 2]
        assert pool.num_sessions == (0, 0, 2)
        members[2].is_lost = True
        with pytest.raises(ComputeLostError):
            await pool.open("c", opened)
        with pytest.raises(ComputeLostError):
            await pool.add_portrait(portrait())

    asyncio.run(scenario())


def test_only_the_loss_of_the_last_member_and_the_first_return_are_told() -> None:
    async def scenario() -> None:
        members = [Member(), Member()]
        pool = ComputePool(members)
        told: list[bool] = []

        async def fail(is_ready: bool) -> None:
            raise ZeroDivisionError

        async def hear(is_ready: bool) -> None:
            told.append(is_ready)

        pool.on_change(fail)
        pool.on_change(hear)
        await pool.start()
        await members[0].turn(False)
        assert (told, pool.is_ready) == ([], True)
        await members[1].turn(False)
        assert (told, pool.is_ready) == ([False], False)
        await members[0].turn(True)
        await members[1].turn(True)
        assert told == [False, True]

    asyncio.run(scenario())


def test_when_one_member_cannot_start_none_stays() -> None:
    class Broken(Member):
        async def start(self) -> None:
            raise ModelError("there is no model of that name")

    async def scenario() -> None:
        members = [Member(), Broken()]
        with pytest.raises(ModelError):
            await ComputePool(members).start()
        assert not members[0].is_ready

    asyncio.run(scenario())


@asynccontextmanager
async def two_processes() -> AsyncIterator[tuple[ComputePool, list[ComputeProcess]]]:
    """Real child processes with the stub engine."""
    members = [ComputeProcess(settings("make", "")) for _ in range(2)]
    pool = ComputePool(members)
    await pool.start()
    try:
        yield pool, members
    finally:
        await pool.stop()


def test_of_two_processes_one_is_killed_and_the_other_s_session_never_notices() -> None:
    async def scenario() -> None:
        async with two_processes() as (pool, members):
            told = changes(members[1])
            picture = portrait()
            opened = SessionSettings(portrait=await pool.add_portrait(picture))
            hers, his = [await pool.open(name, opened) for name in ("hers", "his")]
            for stream in (hers, his):
                stream.put(frame(1))
                assert (await stream.get()).number == 1
            assert members[1].pid is not None
            os.kill(members[1].pid, signal.SIGKILL)
            with pytest.raises(ComputeLostError):
                await his.get()
            await his.close()
            again = await pool.open("his", opened)
            assert (again.member, pool.num_sessions) == (0, (2, 0))
            for number, stream in ((2, hers), (3, again)):
                stream.put(frame(number))
                assert (await stream.get()).number == number
            assert [await told.get(), await told.get()] == [False, True]
            assert (await pool.open("third", opened)).member == 1

    asyncio.run(scenario())
