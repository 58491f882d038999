"""What counts as growth."""

import os
import threading
from collections.abc import Sequence
from multiprocessing.shared_memory import SharedMemory

import pytest

from streamer.bench.held import Held, grown, held_by, trends


def samples(memory: Sequence[float], threads: Sequence[int]) -> list[Held]:
    return [
        Held(rss_mb=rss_mb, threads=number, descriptors=20, sockets=5, shared=4)
        for rss_mb, number in zip(memory, threads, strict=True)
    ]


def release_memory(memory: SharedMemory) -> None:
    memory.close()
    memory.unlink()


def test_a_thread_and_a_socket_more_are_seen() -> None:
    release_memory(SharedMemory(create=True, size=1))  # Python starts its tracker now
    before = held_by(os.getpid())
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    ends = os.pipe()  # and shared memory has two descriptors
    memory = SharedMemory(create=True, size=1)
    after = held_by(os.getpid())
    release_memory(memory)
    release.set()
    thread.join()
    for end in ends:
        os.close(end)
    assert before is not None
    assert after is not None
    assert after.threads == before.threads + 1
    assert (after.descriptors, after.sockets) == (before.descriptors + 4, before.sockets)
    assert after.shared == before.shared + 1
    assert before.rss_mb > 10


def test_a_process_that_is_gone_holds_nothing() -> None:
    assert held_by(2**22 + 1) is None


def test_steady_figures_are_flat_and_a_thread_a_cycle_is_not() -> None:
    assert grown(trends(samples([300, 304] * 10, [7] * 20))) == []
    leaking = trends(samples([300] * 20, range(20)))
    assert grown(leaking) == ["threads"]
    assert leaking["threads"].slope == pytest.approx(1)
    assert (leaking["threads"].first, leaking["threads"].last) == (1.5, 17.5)


def test_memory_may_grow_by_little_only() -> None:
    assert grown(trends(samples([100 + 0.2 * i for i in range(20)], [7] * 20))) == []
    assert grown(trends(samples([100 + 4.6 * i for i in range(20)], [7] * 20))) == ["rss_mb"]


def test_one_sample_is_no_trend() -> None:
    with pytest.raises(ValueError, match="two samples"):
        trends(samples([1], [1]))
