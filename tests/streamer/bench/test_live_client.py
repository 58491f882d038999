"""The camera of the aiortc client, by a clock of our own."""

import asyncio
import json
from itertools import pairwise
from types import SimpleNamespace

import pytest

from streamer.bench.live_client import CountingCamera, LiveClient


def test_a_camera_that_was_limited_sends_fewer_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]

    async def sleep(seconds: float) -> None:
        now_s[0] += seconds

    async def act() -> list[float]:
        camera = CountingCamera(rate=30.0)
        for _ in range(4):
            await camera.recv()
        camera.most_fps = 10.0
        for _ in range(4):
            await camera.recv()
        return camera.sent_s

    clock = SimpleNamespace(monotonic=lambda: now_s[0])
    monkeypatch.setattr("streamer.bench.live_client.time", clock)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    sent_s = asyncio.run(act())
    gaps_ms = [round(1000 * (after - before)) for before, after in pairwise(sent_s)]
    assert gaps_ms == [33, 33, 33, 33, 100, 100, 100]


@pytest.mark.parametrize("heeds_rate", [True, False])
def test_only_a_client_that_is_to_heeds_the_servers_rate(heeds_rate: bool) -> None:
    async def act() -> float | None:
        client = LiveClient("http://127.0.0.1:9", heeds_rate=heeds_rate)
        client._on_text(json.dumps({"type": "stats", "camera_fps": 18}))
        await client.close()
        return client.camera.most_fps

    assert asyncio.run(act()) == (18 if heeds_rate else None)
