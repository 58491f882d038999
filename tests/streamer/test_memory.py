"""What ended sessions leave is given back."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from live_stand_ins import served
from streamer.memory import give_back, set_apart, without_collections


class Web:
    """Refers to itself, as connections do."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No collection by chance."""
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_what_came_after_the_start_is_given_back_and_what_was_there_is_left_alone() -> None:
    earlier = weakref.ref(Web())
    set_apart()
    assert earlier() is None
    apart, later = Web(), weakref.ref(Web())
    set_apart()
    kept = weakref.ref(apart)
    del apart
    ended = weakref.ref(Web())
    give_back()
    assert later() is None
    assert ended() is None
    assert kept() is not None


@pytest.mark.usefixtures("uncollected")
def test_what_is_loaded_is_never_visited_by_the_collector() -> None:
    gc.enable()
    with without_collections():
        assert not gc.isenabled()
        loaded = weakref.ref(Web())
    assert gc.isenabled()
    gc.collect()
    assert loaded() is not None


@pytest.mark.usefixtures("uncollected")
def test_a_collector_that_was_off_stays_off_after_loading() -> None:
    with without_collections():
        pass
    assert not gc.isenabled()


def test_memory_is_given_back_after_every_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    monkeypatch.setattr("streamer.sessions._TIDY_S", 0.0)

    async def act() -> None:
        given_back = asyncio.Event()
        loop = asyncio.get_running_loop()

        def give() -> None:
            done.append(1)
            loop.call_soon_threadsafe(given_back.set)

        monkeypatch.setattr("streamer.sessions.give_back", give)
        async with served(tmp_path) as stage:
            addresses = [f"/api/sessions/{(await stage.begin())[1]['id']}" for _ in range(2)]
            assert not done
            await stage.client.delete(addresses[0])
            await asyncio.wait_for(given_back.wait(), 10)
            given_back.clear()
            await stage.client.delete(addresses[1])
            await asyncio.wait_for(given_back.wait(), 10)

    asyncio.run(act())
    assert len(done) == 2
