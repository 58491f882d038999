"""Things that happen to a session at the same time."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from streamer.errors import ComputeLostError
from streamer.live import SessionSettings
from stub_compute import changes, held, running
from stub_engine import HOLD, HOLD_PORTRAIT, frame, portrait


def test_a_swap_under_way_when_the_process_dies_fails_and_the_old_portrait_comes_back(
    gate: Path,
) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            told = changes(compute)
            opened = SessionSettings(portrait=await compute.add_portrait(portrait(7)))
            stream = await compute.open("a", opened)
            swap = asyncio.create_task(compute.add_portrait(portrait(HOLD_PORTRAIT)))
            door = await held(gate)
            stream.put(frame(1))
            await stream.get()
            assert compute.pid is not None
            os.kill(compute.pid, signal.SIGKILL)
            with pytest.raises(ComputeLostError):
                await swap
            os.close(door)
            with pytest.raises(ComputeLostError):
                await stream.update(opened)
            with pytest.raises(ComputeLostError):
                await stream.reference("set")
            stream.put(frame(2))  # nowhere
            assert [await told.get(), await told.get()] == [False, True]
            await stream.close()
            again = await compute.open("a", opened)
            assert again.still.tolist() == portrait(7).tolist()
            other = await compute.add_portrait(portrait(9, (6, 6)))
            await again.update(SessionSettings(portrait=other))
            again.put(frame(3))
            assert (await again.get()).image.shape == (6, 6, 3)

    asyncio.run(scenario())


def test_of_two_quick_swaps_the_later_one_stays(gate: Path) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            known = [await compute.add_portrait(portrait(7, (n, n))) for n in (2, 3, 4)]
            stream = await compute.open("a", SessionSettings(portrait=known[0]))
            stream.put(frame(0, HOLD))
            door = await held(gate)
            swaps = [
                asyncio.create_task(stream.update(SessionSettings(portrait=name)))
                for name in known[1:]
            ]
            await asyncio.sleep(0)
            os.close(door)
            await asyncio.gather(*swaps)
            await stream.reference("set")
            stream.put(frame(5))
            while (result := await stream.get()).number != 5:
                pass
            assert result.image.shape == (4, 4, 3)

    asyncio.run(scenario())


def test_a_session_that_ends_while_its_next_portrait_is_encoded_disturbs_nobody(gate: Path) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            leaving, staying = [await compute.open(name, opened) for name in ("a", "b")]
            swap = asyncio.create_task(compute.add_portrait(portrait(HOLD_PORTRAIT)))
            door = await held(gate)
            swap.cancel()
            await asyncio.wait([swap])
            await leaving.close()
            staying.put(frame(1))
            assert (await staying.get()).times_s["num_sessions"] == 1
            os.close(door)
            await compute.add_portrait(portrait(9))
            staying.put(frame(2))
            assert (await staying.get()).number == 2

    asyncio.run(scenario())


def test_a_portrait_that_was_taken_back_before_it_was_read_is_not_an_accident(gate: Path) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            pid = compute.pid
            for _ in range(5):
                given_up = asyncio.create_task(compute.add_portrait(portrait(8)))
                await asyncio.sleep(0)
                given_up.cancel()
                await asyncio.wait([given_up])
            await compute.open(
                "a", SessionSettings(portrait=await compute.add_portrait(portrait()))
            )
            assert compute.pid == pid

    asyncio.run(scenario())
