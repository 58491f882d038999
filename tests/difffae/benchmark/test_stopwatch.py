"""A stage's time is its own, percentiles are of single calls, and what raised does not count."""

from collections.abc import Iterator
from itertools import count

import pytest

from difffae.benchmark.stopwatch import Stopwatch, spread


@pytest.fixture
def watch() -> Stopwatch:
    """Its clock goes on by one second whenever it is read."""
    seconds: Iterator[int] = count()
    return Stopwatch(clock=lambda: float(next(seconds)))


def test_time_within_another_stage_counts_there_only(watch: Stopwatch) -> None:
    with watch.stage("frame"):
        with watch.stage("track"), watch.stage("mesh"):
            pass
        with watch.stage("paint"):
            pass
    assert watch.laps_ms == {"mesh": [1000], "track": [2000], "paint": [1000], "frame": [3000]}
    assert sum(sum(laps) for laps in watch.laps_ms.values()) == 7000


def test_a_timed_function_gives_what_the_function_gives(watch: Stopwatch) -> None:
    add = watch.timed("add", lambda a, *, b: a + b)
    assert (add(1, b=2), add(3, b=4)) == (3, 7)
    assert watch.laps_ms == {"add": [1000, 1000]}


def test_a_call_that_raises_is_not_counted_and_the_next_one_is(watch: Stopwatch) -> None:
    def divide(by: int) -> float:
        return 1 / by

    timed = watch.timed("divide", divide)
    with watch.stage("frame"):
        with pytest.raises(ZeroDivisionError):
            timed(0)
        timed(1)
    assert watch.laps_ms["divide"] == [1000]
    assert set(watch.laps_ms) == {"divide", "frame"}


def test_what_was_forgotten_is_in_no_percentile(watch: Stopwatch) -> None:
    for _ in range(3):
        with watch.stage("warm"):
            pass
    watch.forget()
    with watch.stage("frame"):
        pass
    assert list(watch.spreads()) == ["frame"]


def test_percentiles_are_of_single_calls() -> None:
    found = spread([float(value) for value in range(101)])
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (50, 95, 99)
    assert (found.mean_ms, found.num_calls) == (50, 101)


def test_percentiles_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="expected those of at least one call"):
        spread([])
