"""A model that hangs, or dies over the same thing again and again."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamer.compute import ComputeProcess
from streamer.errors import ComputeLostError, ModelError, PortraitError, SessionFailedError
from streamer.live import SessionSettings
from streamer.slot_stream import SlotStream
from streamer.watchdog import Patience
from stub_compute import changes, held, settings
from stub_engine import DIE, DIE_PORTRAIT, HOLD, HOLD_PORTRAIT, frame, portrait

SHORT = Patience(frames_s=1, portraits_s=1, start_s=60)


@asynccontextmanager
async def started(
    function: str, *arguments: object, **changed: Any
) -> AsyncIterator[ComputeProcess]:
    compute = ComputeProcess(replace(settings(function, *arguments), **changed))
    await compute.start()
    try:
        yield compute
    finally:
        await compute.stop()


async def answers(stream: SlotStream, number: int) -> None:
    stream.put(frame(number))
    assert (await stream.get()).number == number


def test_a_model_that_hangs_in_a_frame_is_killed_and_started_again(gate: Path) -> None:
    async def scenario() -> None:
        async with started("make", str(gate), patience=SHORT) as compute:
            told = changes(compute)
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            stuck, other = [await compute.open(name, opened) for name in ("stuck", "other")]
            pid = compute.pid
            stuck.put(frame(0, HOLD))
            for stream in (stuck, other):
                with pytest.raises(ComputeLostError):
                    await stream.get()
            assert [await told.get(), await told.get()] == [False, True]
            assert compute.pid != pid
            await answers(await compute.open("other", opened), 1)

    asyncio.run(scenario())


def test_a_model_that_hangs_over_a_portrait_is_killed_though_frames_go_on(gate: Path) -> None:
    async def scenario() -> None:
        async with started("make", str(gate), patience=SHORT) as compute:
            told = changes(compute)
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            stream = await compute.open("a", opened)
            encoding = asyncio.create_task(compute.add_portrait(portrait(HOLD_PORTRAIT)))
            door = await held(gate)
            await answers(stream, 1)
            with pytest.raises(ComputeLostError):
                await encoding
            os.close(door)
            assert [await told.get(), await told.get()] == [False, True]

    asyncio.run(scenario())


def test_a_model_that_hangs_as_it_starts_is_given_up(gate: Path) -> None:
    async def scenario() -> None:
        compute = ComputeProcess(
            replace(settings("make_stuck", str(gate)), patience=replace(SHORT, start_s=0.2))
        )
        with pytest.raises(ComputeLostError):
            await compute.start()
        await compute.stop()

    asyncio.run(scenario())


def test_a_session_counts_as_waiting_only_until_its_last_frame_is_answered(gate: Path) -> None:
    async def scenario() -> None:
        async with started("make", str(gate)) as compute:
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            stream = await compute.open("a", opened)
            assert not stream.is_waiting
            stream.put(frame(0, HOLD))
            door = await held(gate)
            assert (stream.is_waiting, stream.is_at_work) == (True, True)
            stream.put(frame(1))
            os.close(door)
            while (await stream.get()).number != 1:
                assert stream.is_waiting
            assert (stream.is_waiting, stream.is_at_work) == (False, False)

    asyncio.run(scenario())


def test_a_session_that_kills_the_process_again_and_again_is_ended_and_others_go_on() -> None:
    async def scenario() -> None:
        async with started("make", max_losses=2) as compute:
            told = changes(compute)
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            for _ in range(2):
                bad, good = [await compute.open(name, opened) for name in ("bad", "good")]
                await answers(good, 1)
                bad.put(frame(0, DIE))
                with pytest.raises(ComputeLostError):
                    await good.get()
                assert [await told.get(), await told.get()] == [False, True]
            with pytest.raises(SessionFailedError, match="again and again"):
                await compute.open("bad", opened)
            await answers(await compute.open("good", opened), 2)

    asyncio.run(scenario())


def test_a_portrait_that_kills_the_process_again_and_again_is_refused() -> None:
    async def scenario() -> None:
        async with started("make", max_losses=2) as compute:
            told = changes(compute)
            for _ in range(2):
                with pytest.raises(ComputeLostError):
                    await compute.add_portrait(portrait(DIE_PORTRAIT))
                assert [await told.get(), await told.get()] == [False, True]
            with pytest.raises(PortraitError, match="use another"):
                await compute.add_portrait(portrait(DIE_PORTRAIT))
            await compute.add_portrait(portrait())

    asyncio.run(scenario())


def test_a_process_that_does_not_come_back_is_given_up_with_a_sentence(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started("make_countdown", str(tmp_path), max_tries=4) as compute:
            told = changes(compute)
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            stream = await compute.open("a", opened)
            for name in range(9):
                (tmp_path / f"{name}").touch()
            stream.put(frame(0, DIE))
            with pytest.raises(ComputeLostError):
                await stream.get()
            assert await told.get() is False
            await asyncio.gather(*compute._recoveries)
            assert "start the server again" in compute.failure
            assert not compute.is_ready
            with pytest.raises(ModelError, match="cannot be kept running"):
                await compute.open("a", opened)

    asyncio.run(scenario())
    assert len(list(tmp_path.iterdir())) == 9 - 3
