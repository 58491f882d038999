"""Compute processes that are killed, replaced and stopped, and what must not stay behind."""

import asyncio
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing import resource_tracker
from pathlib import Path

import pytest
import uvloop

import stub_engine
from streamer.compute import ComputeProcess
from streamer.errors import ComputeLostError
from streamer.live import SessionSettings
from stub_compute import changes, held, running, settings
from stub_engine import DIE, HOLD, frame, portrait


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_killed_process_is_noticed_by_all_and_replaced(
    gate: Path, run: Callable[..., None]
) -> None:
    async def scenario() -> None:
        async with running(gate) as compute:
            told = changes(compute)
            known = [await compute.add_portrait(portrait(value)) for value in (7, 8)]
            streams = [
                await compute.open(f"{n}", SessionSettings(portrait=known[n])) for n in (0, 1)
            ]
            streams[0].put(frame(0, HOLD))
            door = await held(gate)
            waiting = [asyncio.create_task(stream.get()) for stream in streams]
            waiting.append(asyncio.create_task(streams[0].reference("auto")))
            await asyncio.sleep(0)
            pid = compute.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            for task in waiting:
                with pytest.raises(ComputeLostError):
                    await task
            os.close(door)
            assert not compute.is_ready
            assert await told.get() is False
            streams[0].put(frame(1))
            with pytest.raises(ComputeLostError):
                await compute.open("2", SessionSettings(portrait=known[0]))
            assert await told.get() is True
            assert compute.is_ready
            assert compute.pid != pid
            for n in (0, 1):
                await streams[n].close()
                stream = await compute.open(f"{n}", SessionSettings(portrait=known[n]))
                assert stream.still.tolist() == portrait(7 + n).tolist()
                stream.put(frame(5))
                assert (await stream.get()).number == 5

    run(scenario())


def test_a_process_that_dies_again_and_again_is_started_again_and_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        compute = ComputeProcess(settings("make_countdown", str(tmp_path)))
        await compute.start()
        told = changes(compute)
        opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
        for name in ("first", "second"):
            (tmp_path / name).touch()
        for num_losses in (1, 2):
            stream = await compute.open("a", opened)
            stream.put(frame(0, DIE))
            with pytest.raises(ComputeLostError):
                await stream.get()
            assert [await told.get(), await told.get()] == [False, True]
            assert compute.num_losses == num_losses
        await compute.stop()

    asyncio.run(scenario())
    assert list(tmp_path.iterdir()) == []


def test_a_listener_that_fails_keeps_nobody_from_hearing_of_it() -> None:
    async def fail(is_ready: bool) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        async with running() as compute:
            compute.on_change(fail)
            told = changes(compute)
            assert compute.pid is not None
            os.kill(compute.pid, signal.SIGKILL)
            assert [await told.get(), await told.get()] == [False, True]

    asyncio.run(scenario())


def leftovers() -> tuple[set[str], int, set[str], int]:
    """Shared memory, threads, what the open descriptors are, child processes."""
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    descriptors = [os.readlink(link) for link in links if os.path.lexists(link)]
    return (
        set(os.listdir("/dev/shm")),
        threading.active_count(),
        {name for name in descriptors if "/proc/" not in name},
        len(multiprocessing.active_children()),
    )


@pytest.mark.parametrize("end", ["stop", "kill while streaming", "kill and stop at once"])
def test_nothing_stays_behind(end: str, gate: Path) -> None:
    async def scenario() -> None:
        compute = ComputeProcess(settings("make", str(gate)))
        await compute.start()
        told = changes(compute)
        opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
        streams = [await compute.open(name, opened) for name in "ab"]
        assert multiprocessing.active_children() != []
        streams[0].put(frame(0))
        await streams[0].get()
        if end != "stop":
            assert compute.pid is not None
            os.kill(compute.pid, signal.SIGKILL)
        if end == "kill while streaming":
            assert [await told.get(), await told.get()] == [False, True]
            await compute.open("a", opened)
        await compute.stop()
        await compute.stop()
        with pytest.raises(ComputeLostError):
            await streams[1].get()

    resource_tracker.ensure_running()
    before = leftovers()
    asyncio.run(scenario())
    assert leftovers() == before


def test_while_sessions_run_their_memory_has_no_name_that_could_stay_behind() -> None:
    async def scenario() -> None:
        before = set(os.listdir("/dev/shm"))
        async with running() as compute:
            opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
            await compute.open("a", opened)
            assert set(os.listdir("/dev/shm")) == before

    asyncio.run(scenario())


def test_a_process_held_by_its_model_is_ended_by_force(gate: Path) -> None:
    async def scenario() -> None:
        compute = ComputeProcess(settings("make", str(gate)))
        await compute.start()
        opened = SessionSettings(portrait=await compute.add_portrait(portrait()))
        stream = await compute.open("a", opened)
        stream.put(frame(0, HOLD))
        door = await held(gate)
        object.__setattr__(compute._settings, "patience_s", 0.0)
        await compute.stop()
        os.close(door)

    asyncio.run(scenario())
    assert multiprocessing.active_children() == []


def test_the_compute_process_ends_when_its_parent_is_killed(gate: Path) -> None:
    program = (
        "import asyncio\n"
        "from streamer.compute import ComputeProcess, ComputeSettings\n"
        "from streamer.live import SessionSettings\n"
        "from stub_engine import HOLD, frame, portrait\n"
        "async def main():\n"
        f"    settings = ComputeSettings(engine='stub_engine:make', arguments=({str(gate)!r},))\n"
        "    compute = ComputeProcess(settings)\n"
        "    await compute.start()\n"
        "    known = await compute.add_portrait(portrait())\n"
        "    stream = await compute.open('a', SessionSettings(portrait=known))\n"
        "    stream.put(frame(0, HOLD))\n"
        "    print(compute.pid, flush=True)\n"
        "    await stream.get()\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    script = gate.with_name("parent.py")
    script.write_text(program, "utf-8")
    before = set(os.listdir("/dev/shm"))
    roots = [str(Path(stub_engine.__file__).parent), str(Path(stub_engine.__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, encoding="utf-8", env=environment
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        door = os.open(gate, os.O_WRONLY)  # the model is in a frame
        parent.kill()
        ended, _, _ = select.select([child], [], [], 60)
        os.close(door)
    assert ended == [child]
    os.close(child)
    assert set(os.listdir("/dev/shm")) == before
