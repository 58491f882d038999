"""The real app, model process and connections, with aiortc clients that come, go and crash."""

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from aiortc.mediastreams import AudioStreamTrack

from live_stand_ins import picture
from painted_media import until
from streamer.bench.live_client import CountingCamera, LiveClient, RefusedError, numbered
from streamer.bench.relay import BAD, CLEAN, Conditions, Relay, Weather
from streamer.compute import ComputeProcess, ComputeSettings
from streamer.live import Picture
from streamer.portraits import Portraits
from streamer.server import aiortc_peers
from streamer.server_config import Limits, ServerConfig
from streamer.sessions import Sessions
from streamer.signaling import SESSIONS, create_app

TIMEOUT_S = 30.0
NUM_CYCLES = 50


class Live:
    """A running server."""

    def __init__(self, server: TestServer, compute: ComputeProcess) -> None:
        self.compute = compute
        self.sessions: Sessions = server.app[SESSIONS]
        self.address = str(server.make_url("/"))


@asynccontextmanager
async def live(
    folder: Path, *, order: str = "fail", max_sessions: int = 2, limits: Limits | None = None
) -> AsyncIterator[tuple[Live, aiohttp.ClientSession]]:
    """A warm server with the link engine, and a way to it."""
    limits = limits or Limits()
    config = ServerConfig(log_folder=folder, max_sessions=max_sessions, limits=limits)
    bundled = folder / "P001.png"
    bundled.write_bytes(picture(90))
    compute = ComputeProcess(
        ComputeSettings(engine="link_engine:make", arguments=(order,), back_off_s=(0.0,))
    )
    portraits = Portraits(limits, {"P001": bundled})
    await compute.start()
    try:
        server = TestServer(create_app(config, compute, aiortc_peers(config), portraits=portraits))
        async with server, aiohttp.ClientSession() as http:
            yield Live(server, compute), http
    finally:
        await compute.stop()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def act() -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await work()

    asyncio.run(act())


async def streaming(
    live: Live, http: aiohttp.ClientSession, *, has_audio: bool = False, **more: Any
) -> LiveClient:
    """A client that has seen its own frames come back."""
    client = LiveClient(live.address, **more)
    if has_audio:
        client.connection.addTrack(AudioStreamTrack())
    await client.connect(http)
    await more_frames(client)
    return client


async def more_frames(client: LiveClient, count: int = 3) -> None:
    """Wait until so many new frames have made the whole way."""
    newest = len(client.camera.sent_s)
    await client.until(lambda: sum(one.number >= newest for one in client.seen) >= count)


def held() -> dict[str, list[str]]:
    """What this process holds: threads, open descriptors by kind, shared memory by name."""
    gc.collect()
    opened = []
    for number in os.listdir("/proc/self/fd"):
        try:
            opened.append(os.readlink(f"/proc/self/fd/{number}").split(":")[0])
        except OSError:  # the folder's own
            continue
    return {
        "threads": sorted(
            thread.name
            for thread in threading.enumerate()
            if not thread.name.startswith("asyncio_")  # the loop's pool, which is bounded
        ),
        "descriptors": sorted(opened),
        "tasks": sorted(str(task.get_coro()) for task in asyncio.all_tasks()),
        "shared": sorted(name for name in os.listdir("/dev/shm") if name.startswith("psm_")),
    }


def test_sessions_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    async def act() -> None:
        async with live(tmp_path) as (server, http):
            first = await streaming(server, http, has_audio=True)
            await first.close(http)
            before = held()
            for number in range(NUM_CYCLES):
                client = await streaming(server, http, has_audio=number % 4 > 1)
                await client.close(http if number % 2 else None)
                await until(lambda: len(server.sessions) == 0)
            await until(lambda: len(asyncio.all_tasks()) == len(before["tasks"]))
            now = held()
            assert len(now.pop("tasks")) == len(before.pop("tasks"))
            assert now == before

    run(act)


def test_sessions_that_never_connect_leave_nothing_behind(tmp_path: Path) -> None:
    async def act() -> None:
        async with live(tmp_path, limits=Limits(connect_s=1.0)) as (server, http):
            first = await streaming(server, http)
            await first.close(http)
            before = held()
            for _ in range(2):
                client = LiveClient(server.address)
                offer = await client.connection.createOffer()
                await client.connection.setLocalDescription(offer)
                await client.ask(http, client.connection.localDescription.sdp)
                await client.close()
            assert len(server.sessions) == 2
            await until(lambda: len(server.sessions) == 0)
            await until(lambda: len(asyncio.all_tasks()) == len(before["tasks"]))
            now = held()
            assert len(now.pop("tasks")) == len(before.pop("tasks"))
            assert now == before

    run(act)


def test_frames_come_through_a_bad_network_and_again_after_it_was_cut(tmp_path: Path) -> None:
    async def act() -> None:
        weather = Weather(BAD, seed=4)
        relay = Relay(weather)
        async with live(tmp_path) as (server, http):
            client = await streaming(server, http, relay=relay)
            weather.conditions = Conditions(loss=1.0)
            num_lost = weather.num_lost
            await until(lambda: weather.num_lost > num_lost + 40)
            weather.conditions = BAD
            await more_frames(client)
            weather.conditions = CLEAN
            await more_frames(client)
            await client.close(http)
        relay.close()

    run(act)


class WhiteCamera(CountingCamera):
    """Plain white from the moment it is told to."""

    def __init__(self) -> None:
        self.is_white = False
        super().__init__(paint=self.painted)

    def painted(self, number: int) -> Picture:
        image = numbered(number)
        return np.full_like(image, 255) if self.is_white else image


def test_a_session_that_the_model_fails_on_leaves_the_other_streaming(tmp_path: Path) -> None:
    async def act() -> None:
        async with live(tmp_path) as (server, http):
            camera = WhiteCamera()
            doomed = await streaming(server, http, camera=camera)
            other = await streaming(server, http)
            camera.is_white = True
            await doomed.until(lambda: "closed" in doomed.states)
            await more_frames(other)
            assert set(other.states) <= {"connecting", "warming", "ready", "streaming"}
            await until(lambda: len(server.sessions) == 1)
            third = await streaming(server, http)
            for client in (doomed, other, third):
                await client.close()

    run(act)


def test_a_killed_model_process_is_told_of_and_all_stream_again(tmp_path: Path) -> None:
    async def act() -> None:
        async with live(tmp_path) as (server, http):
            clients = [await streaming(server, http) for _ in range(2)]
            assert server.compute.pid is not None
            os.kill(server.compute.pid, signal.SIGKILL)
            for client in clients:
                await client.until(lambda client=client: "recovering" in client.states)  # type: ignore[misc]
                await client.until(lambda client=client: client.states[-1] == "streaming")  # type: ignore[misc]
                await more_frames(client)
            for client in clients:
                await client.close()

    run(act)


def test_one_too_many_is_told_when_to_come_again_and_the_others_go_on(tmp_path: Path) -> None:
    async def act() -> None:
        async with live(tmp_path) as (server, http):
            clients = [await streaming(server, http) for _ in range(2)]
            late = LiveClient(server.address)
            with pytest.raises(RefusedError) as caught:
                await late.connect(http)
            await late.close()
            assert caught.value.status == 503
            assert int(caught.value.retry_after_s or 0) > 0
            for client in clients:
                await more_frames(client)
            await clients[0].close(http)
            assert len(server.sessions) == 1
            clients.append(await streaming(server, http))
            for client in clients:
                await client.close()

    run(act)


VANISHING = """
import asyncio, sys
import aiohttp
from streamer.bench.live_client import LiveClient

async def stay():
    client = LiveClient(sys.argv[1])
    async with aiohttp.ClientSession() as http:
        await client.connect(http)
        await client.until(lambda: len(client.seen) > 2)
        print("streaming", flush=True)
        await asyncio.Event().wait()

asyncio.run(stay())
"""


def test_a_client_that_vanishes_gives_its_place_back(tmp_path: Path) -> None:
    async def act() -> None:
        limits = Limits(idle_s=0.5)
        async with live(tmp_path, max_sessions=1, limits=limits) as (server, http):
            gone = await asyncio.create_subprocess_exec(
                sys.executable, "-c", VANISHING, server.address, stdout=asyncio.subprocess.PIPE
            )  # fmt: skip
            assert gone.stdout is not None
            assert await gone.stdout.readline() == b"streaming\n"
            assert len(server.sessions) == 1
            gone.kill()
            await gone.wait()
            await until(lambda: len(server.sessions) == 0)
            client = await streaming(server, http)
            await client.close(http)

    run(act)
