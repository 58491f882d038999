"""The compute process with a stub for a model: real processes, some of them killed."""

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from streamer.compute import ComputeProcess
from streamer.controls import LiveControls
from streamer.errors import ComputeLostError, ModelError, PortraitError, SessionFailedError
from streamer.frame_slot import FrameSlotError
from streamer.live import SessionSettings
from streamer.mailbox import MailboxClosedError
from stub_compute import held, running, settings
from stub_engine import FAIL, HOLD, HOLD_OPENING, HOLD_PORTRAIT, frame, portrait


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_frame_goes_there_and_its_result_comes_back(run: Callable[..., None]) -> None:
    async def scenario() -> None:
        async with running() as compute:
            assert compute.is_ready
            known = await compute.add_portrait(portrait(7))
            stream = await compute.open("a", SessionSettings(portrait=known))
            assert stream.still.tolist() == portrait(7).tolist()
            for number, shape in enumerate([(4, 6), (64, 64), (1, 1)], start=40):
                stream.put(frame(number, shape=shape))
                result = await stream.get()
                assert result.image.tolist() == portrait(number).tolist()
                assert (result.number, result.face) == (number, "tracked")
                assert result.times_s["captured"] == 0.25
                assert result.times_s["taken"] > 1
            assert (stream.num_put, stream.num_dropped) == (3, 0)
        assert not compute.is_ready

    run(scenario())


def test_of_frames_that_came_while_the_model_worked_the_latest_is_taken(gate: Path) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            known = await compute.add_portrait(portrait())
            stream = await compute.open("a", SessionSettings(portrait=known))
            stream.put(frame(0, HOLD))
            door = await held(gate)
            for number in range(1, 11):
                stream.put(frame(number))
            os.close(door)
            numbers = [(await stream.get()).number]
            if numbers == [0]:
                numbers.append((await stream.get()).number)
            assert numbers in ([0, 10], [10])
            assert (stream.num_put, stream.num_dropped) == (11, 9)

    asyncio.run(scenario())


def test_sessions_with_a_waiting_frame_are_served_in_turn(gate: Path) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            streams = {name: await compute.open(name, opened) for name in "abc"}
            streams["a"].put(frame(0, HOLD))
            door = await held(gate)
            for number in range(5):
                streams["a"].put(frame(number))
            streams["c"].put(frame(0, HOLD))
            streams["b"].put(frame(0))
            os.close(door)
            assert (await streams["b"].get()).times_s["turn"] == 2  # the pipe is free again
            door = await held(gate)  # the model is at c's
            streams["b"].put(frame(1))
            os.close(door)
            assert (await streams["c"].get()).times_s["turn"] == 3
            assert (await streams["b"].get()).times_s["turn"] == 5
            result = await streams["a"].get()
            assert (result.number, result.times_s["turn"]) == (4, 4)

    asyncio.run(scenario())


def test_a_failing_session_is_closed_alone_and_says_why() -> None:
    async def scenario() -> None:
        async with running() as compute:
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            good, bad = [await compute.open(name, opened) for name in ("good", "bad")]
            pid = compute.pid
            bad.put(frame(0, FAIL))
            with pytest.raises(SessionFailedError, match="ZeroDivisionError: asked to fail"):
                await bad.get()
            good.put(frame(1))
            result = await good.get()
            assert (result.number, result.times_s["num_sessions"]) == (1, 1)
            bad.put(frame(2))  # goes nowhere
            with pytest.raises(SessionFailedError):
                await bad.update(opened)
            await bad.close()
            again = await compute.open("bad", opened)
            again.put(frame(3))
            assert (await again.get()).number == 3
            assert compute.pid == pid

    asyncio.run(scenario())


def test_portrait_and_controls_change_between_two_frames() -> None:
    async def scenario() -> None:
        async with running() as compute:
            one, other = [await compute.add_portrait(portrait(7, (n, n))) for n in (2, 64)]
            stream = await compute.open("a", SessionSettings(portrait=one))
            changed = SessionSettings(portrait=other, controls=LiveControls(strength=1.5))
            await stream.update(changed)
            await stream.reference("set")
            stream.put(frame(9))
            result = await stream.get()
            assert result.image.tolist() == portrait(9, (64, 64)).tolist()
            assert (result.times_s["strength"], result.times_s["num_actions"]) == (1.5, 1)
            with pytest.raises(PortraitError, match="no such portrait"):
                await stream.update(SessionSettings(portrait="unknown"))

    asyncio.run(scenario())


def test_frames_controls_and_known_portraits_go_on_while_a_portrait_is_encoded(gate: Path) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            stream = await compute.open("a", opened)
            encoding = asyncio.create_task(compute.add_portrait(portrait(HOLD_PORTRAIT)))
            door = await held(gate)
            for number in range(1, 6):
                stream.put(frame(number))
                assert (await stream.get()).number == number
            await stream.reference("set")
            assert await compute.add_portrait(portrait()) == opened.portrait
            other = await compute.open("b", opened)
            other.put(frame(9))
            assert (await other.get()).number == 9
            assert not encoding.done()
            os.close(door)
            await stream.update(SessionSettings(portrait=await encoding))

    asyncio.run(scenario())


def test_what_the_engine_refuses_is_raised_here_and_harms_nothing() -> None:
    async def scenario() -> None:
        async with running() as compute:
            with pytest.raises(PortraitError, match="no face found"):
                await compute.add_portrait(portrait(0))
            with pytest.raises(SessionFailedError, match="ZeroDivisionError: a fault"):
                await compute.add_portrait(portrait(255))
            with pytest.raises(PortraitError):
                await compute.open("a", SessionSettings(portrait="unknown"))
            large = await compute.add_portrait(portrait(7, (65, 64)))
            with pytest.raises(FrameSlotError, match="64×65"):
                await compute.open("a", SessionSettings(portrait=large))
            opened = SessionSettings(portrait=await compute.add_portrait(portrait(7), 2))
            assert opened.portrait.endswith("-2")
            stream = await compute.open("a", opened)
            with pytest.raises(SessionFailedError, match="open already"):
                await compute.open("a", opened)
            with pytest.raises(FrameSlotError, match="65×64"):
                stream.put(frame(0, shape=(64, 65)))
            stream.put(frame(1))
            assert (await stream.get()).number == 1

    asyncio.run(scenario())


def test_closing_a_stream_wakes_who_waits_and_frees_the_session() -> None:
    async def scenario() -> None:
        async with running() as compute:
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            stream = await compute.open("a", opened)
            waiting = asyncio.create_task(stream.get())
            await asyncio.sleep(0)
            await stream.close()
            await stream.close()
            with pytest.raises(MailboxClosedError):
                await waiting
            stream.put(frame(0))
            again = await compute.open("a", opened)
            again.put(frame(1))
            result = await again.get()
            assert (result.number, result.times_s["num_sessions"]) == (1, 1)

    asyncio.run(scenario())


def test_an_opening_that_was_given_up_while_the_model_was_at_it_leaves_no_session(
    gate: Path,
) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            stream = await compute.open("a", opened)
            slow = replace(opened, controls=LiveControls(smoothing=HOLD_OPENING))
            opening = asyncio.create_task(compute.open("b", slow))
            door = await held(gate)
            opening.cancel()
            await asyncio.wait([opening])
            assert opening.cancelled()
            os.close(door)
            await stream.reference("set")  # answered after the opening and its end
            stream.put(frame(1))
            assert (await stream.get()).times_s["num_sessions"] == 1

    asyncio.run(scenario())


def test_an_opening_that_was_given_up_leaves_no_session(gate: Path) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            stream = await compute.open("a", opened)
            stream.put(frame(0, HOLD))
            door = await held(gate)
            opening = asyncio.create_task(compute.open("b", opened))
            await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
            os.close(door)
            await stream.get()
            await stream.reference("set")  # answered after the opening and its end
            stream.put(frame(1))
            assert (await stream.get()).times_s["num_sessions"] == 1

    asyncio.run(scenario())


def test_an_engine_that_cannot_be_had_says_so_at_the_start() -> None:
    async def scenario() -> None:
        with pytest.raises(ModelError, match="no model of that name"):
            await ComputeProcess(settings("make_none")).start()
        with pytest.raises(ComputeLostError):
            await ComputeProcess(settings("make_dead")).start()
        with pytest.raises(SessionFailedError, match="AttributeError"):
            await ComputeProcess(settings("make_nothing")).start()
        compute = ComputeProcess(settings("make"))
        with pytest.raises(ComputeLostError, match="starting"):
            await compute.add_portrait(portrait())
        await compute.stop()

    asyncio.run(scenario())
    assert multiprocessing.active_children() == []
