"""Two replicas on a Ray cluster of this machine's own, one of them killed mid-stream."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

import ray_engine
import stub_engine
from ray_engine import pid_of
from streamer.compute_child import EngineFactory
from streamer.compute_pool import PooledStream
from streamer.errors import ComputeLostError, ModelError, UsageError
from streamer.live import SessionSettings
from streamer.ray_cluster import ClusterSettings, RayCompute
from stub_engine import DIE, frame, portrait

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


def settings(engine: str, num_replicas: int) -> ClusterSettings:
    """A cluster of our own with a cheap engine."""
    return ClusterSettings(
        address="local",
        name="test",
        num_replicas=num_replicas,
        factory=EngineFactory(path=engine),
        num_cpus=0.5,
    )


@pytest.fixture(autouse=True)
def paths(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    """Replicas find package and engines where this process does; Ray leaves the home alone."""
    folders = str(repository), str(Path(stub_engine.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "7" * 64)  # else Ray writes one into the user's home


async def answered(stream: PooledStream, number: int) -> int:
    """Send a frame; the process that answered it."""
    stream.put(frame(number))
    result = await stream.get()
    assert result.number == number
    return pid_of(result)


def test_ray_serve_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install .*\[scale\]"):
        asyncio.run(RayCompute(settings("ray_engine:make", 1)).start())


@pytest.mark.timeout(180)
def test_a_session_moves_to_the_other_replica_when_its_own_is_killed() -> None:
    pytest.importorskip("ray.serve", reason="Ray Serve is in the extra scale")

    async def scenario() -> None:
        compute = RayCompute(settings("ray_engine:make", 2))
        await compute.start()
        try:
            await streams_through(compute)
        finally:
            await compute.stop()
        assert not compute.is_ready

    asyncio.run(scenario())


async def streams_through(compute: RayCompute) -> None:
    picture = portrait()
    opened = SessionSettings(portrait=await compute.add_portrait(picture))
    streams = [await compute.open(name, opened) for name in ("hers", "his")]
    assert [stream.member for stream in streams] == [0, 1]
    pids = [{await answered(stream, n) for n in range(20)} for stream in streams]
    assert [len(found) for found in pids] == [1, 1], "a session is not sticky"
    (his,), (hers,) = pids[1], pids[0]
    assert his != hers

    told = asyncio.Queue[bool]()
    compute._members[1].on_change(told.put)
    waiting = asyncio.create_task(streams[1].get())
    os.kill(his, signal.SIGKILL)
    with pytest.raises(ComputeLostError):
        await waiting
    assert compute.is_ready

    await streams[1].close()
    assert await compute.add_portrait(picture) == opened.portrait
    again = await compute.open("his", opened)
    assert again.member == 0
    for number in range(20, 40):
        assert await answered(again, number) == hers
        assert await answered(streams[0], number) == hers  # who never noticed

    assert [await told.get(), await told.get()] == [False, True]  # Ray Serve started it again
    third = await compute.open("third", opened)  # and is told of the portrait by the pool
    assert third.member == 1
    assert await answered(third, 0) not in (his, hers)
    assert await answered(streams[0], 40) == hers
    third.put(frame(41, DIE))
    with pytest.raises(ComputeLostError):
        await third.get()
    assert await answered(again, 42) == hers


@pytest.mark.timeout(120)
def test_a_model_that_is_missing_is_told_of() -> None:
    pytest.importorskip("ray.serve", reason="Ray Serve is in the extra scale")

    async def scenario() -> None:
        compute = RayCompute(settings("stub_engine:make_none", 1))
        try:
            with pytest.raises(ModelError):
                await compute.start()
        finally:
            await compute.stop()

    asyncio.run(scenario())


def test_the_engine_of_these_tests_tells_its_process() -> None:
    engine = ray_engine.make()
    name = engine.add_portrait(portrait())
    engine.open("a", SessionSettings(portrait=name))
    assert pid_of(engine.process("a", frame(0))) == os.getpid()
