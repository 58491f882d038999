"""What a stretch of this process's work costs: wall-clock and processor time, joules, memory."""

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streamer.bench.energy import Counter, joules_between, read_counters


@dataclass(frozen=True, kw_only=True)
class Used:
    """A stretch of work.

    Attributes:
        wall_s: from its beginning to its end.
        cpu_s: of this process, all threads.
        joules: of the whole machine's processors meanwhile; None where they cannot be read.
    """

    wall_s: float
    cpu_s: float
    joules: float | None


class Meter:
    """Begins to count when it is made.

    Args:
        counters: the energy counters now.
    """

    def __init__(self, counters: Callable[[], Mapping[str, Counter]] = read_counters) -> None:
        self._counters = counters
        self._energy = counters()
        self._cpu_s = time.process_time()
        self._wall_s = time.perf_counter()

    def read(self) -> Used:
        """All since the beginning."""
        return Used(
            wall_s=time.perf_counter() - self._wall_s,
            cpu_s=time.process_time() - self._cpu_s,
            joules=joules_between(self._energy, self._counters()),
        )


def peak_megabytes() -> float:
    """Largest resident memory of this process so far, 10⁶ bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
