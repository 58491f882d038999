"""How long the stages of a frame take: nested calls in, each stage's own times out.

A stage's time is its own: what is spent in a stage within it counts there only, so that the stages
of a frame add up to the frame. For one thread.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Times of one stage.

    Attributes:
        p50_ms, p95_ms, p99_ms: percentiles of single calls.
        mean_ms: of single calls.
        num_calls: how many there were.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    num_calls: int


def spread(times_ms: Sequence[float]) -> Spread:
    """Percentiles of times.

    Raises:
        ValueError: there are none.
    """
    if not times_ms:
        raise ValueError("got no times; expected those of at least one call")
    p50, p95, p99 = (float(value) for value in np.percentile(times_ms, (50, 95, 99)))
    mean = float(np.mean(times_ms))
    return Spread(p50_ms=p50, p95_ms=p95, p99_ms=p99, mean_ms=mean, num_calls=len(times_ms))


@dataclass
class _Running:
    begun_s: float
    within_s: float = 0.0


@dataclass
class Stopwatch:
    """Notes every call of every stage.

    Attributes:
        clock: seconds, from anywhere.
        laps_ms: each stage's own times, in the order of its calls.
    """

    clock: Callable[[], float] = time.perf_counter
    laps_ms: dict[str, list[float]] = field(default_factory=dict)
    _running: list[_Running] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body; a body that raises does not count."""
        self._running.append(_Running(begun_s=self.clock()))
        try:
            yield
        except BaseException:
            self._running.pop()
            raise
        one = self._running.pop()
        took_s = self.clock() - one.begun_s
        if self._running:
            self._running[-1].within_s += took_s
        self.laps_ms.setdefault(name, []).append(1000 * (took_s - one.within_s))

    def timed(self, name: str, function: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
        """The same function, each call of which is a stage of that name."""

        @wraps(function)
        def call(*given: _Given.args, **named: _Given.kwargs) -> _Answer:
            with self.stage(name):
                return function(*given, **named)

        return call

    def forget(self) -> None:
        """Drop what was noted so far, such as calls that only warmed up."""
        self.laps_ms.clear()

    def spreads(self) -> dict[str, Spread]:
        """Each stage's percentiles, in the order in which stages first ended."""
        return {name: spread(laps) for name, laps in self.laps_ms.items()}
