"""Backgrounds and others' attributes on their way to the engine: made ready beside the frames."""

import asyncio
import os
from pathlib import Path

import pytest

from streamer.compute_child import EngineFactory
from streamer.compute_pool import ComputePool
from streamer.controls import LiveControls
from streamer.errors import PortraitError
from streamer.live import SessionSettings
from streamer.ray_compute import ReplicaCompute
from streamer.ray_replica import LiveReplica, ReplicaRequest, Reply
from stub_compute import held, running
from stub_engine import HOLD_BLUR, frame, portrait


def blurred(name: str, blur: float, **controls: object) -> SessionSettings:
    values = LiveControls(background_blur=blur, **controls)  # type: ignore[arg-type]
    return SessionSettings(portrait=name, controls=values)


def test_frames_of_all_go_on_while_a_background_is_made(gate: Path) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            one, other = [await compute.open(name, opened) for name in "ab"]
            making = asyncio.create_task(one.make_ready(blurred(opened.portrait, HOLD_BLUR)))
            door = await held(gate)
            for number, stream in enumerate((one, other, one)):
                stream.put(frame(number))
                assert (await stream.get()).number == number
            assert not making.done()
            os.close(door)
            await making
            await one.update(blurred(opened.portrait, HOLD_BLUR))

    asyncio.run(scenario())


def test_a_session_is_opened_with_its_background_made_and_no_other_is_taken() -> None:
    async def scenario() -> None:
        async with running() as compute:
            name = await compute.add_portrait(portrait())
            stream = await compute.open("a", blurred(name, 3))
            with pytest.raises(PortraitError, match="no such background"):
                await stream.update(blurred(name, 4))
            with pytest.raises(PortraitError, match="no such portrait"):
                await stream.make_ready(blurred("unknown", 4))
            stream.put(frame(1))
            assert (await stream.get()).number == 1

    asyncio.run(scenario())


def test_a_member_of_a_pool_learns_of_the_portraits_that_controls_name() -> None:
    async def scenario() -> None:
        async with running() as first, running() as second:
            pool = ComputePool([first, second])
            name, other = [await pool.add_portrait(portrait(shade)) for shade in (7, 9)]
            await pool.open("a", SessionSettings(portrait=name))
            stream = await pool.open("b", blurred(name, 5, light_from=other))
            assert stream.member == 1
            third = await pool.add_portrait(portrait(11))
            wanted = blurred(name, 6, pose_from=third)
            await stream.make_ready(wanted)
            await stream.update(wanted)
            stream.put(frame(1))
            assert (await stream.get()).number == 1
            with pytest.raises(PortraitError, match="choose it again"):
                await stream.update(blurred(name, 0, pose_from="nobody's"))

    asyncio.run(scenario())


class NearReplica:
    """What Ray's handle is, with the replica in this process."""

    def __init__(self) -> None:
        self.body = LiveReplica(EngineFactory(path="stub_engine:make", arguments=("",)))

    async def ask(self, kind: ReplicaRequest, *arguments: object) -> Reply:
        return await self.body.ask(kind, *arguments)

    async def live(self) -> None:
        await self.body.live()


def test_a_replica_makes_backgrounds_before_they_are_shown() -> None:
    async def scenario() -> None:
        compute = ReplicaCompute(NearReplica())
        await compute.start()
        try:
            name = await compute.add_portrait(portrait())
            stream = await compute.open("a", blurred(name, 3))
            with pytest.raises(PortraitError, match="no such background"):
                await stream.update(blurred(name, 4))
            await stream.make_ready(blurred(name, 4))
            await stream.update(blurred(name, 4))
        finally:
            await compute.stop()

    asyncio.run(scenario())
