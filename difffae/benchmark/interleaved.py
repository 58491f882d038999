"""Networks side by side: what runs in a frame in, the median time of each part out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

Clock = Callable[[], float]
_Took = tuple[float, float]  # as time passed, and of the processor [ms]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A network, or a whole frame, that is timed as one.

    Attributes:
        name: what it is called.
        run: runs it once.
        times_a_frame: how often a frame runs it; 0 where it runs once a source.
        parameters: its own.
        published_parameters: what its authors say; None where they say nothing.
        flops: of one run; a multiply-add is two. Matrix products and convolutions.
    """

    name: str
    run: Callable[[], object]
    times_a_frame: int = 1
    parameters: int
    published_parameters: int | None = None
    flops: int


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A model as it makes a frame.

    Attributes:
        name: of the model, with its steps.
        runtime: what runs it.
        parts: what is timed.
    """

    name: str
    runtime: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class PartFigures:
    """A part as it was measured: as `Part`, with the median time of a run and how many there were.

    Attributes:
        name, times_a_frame, parameters, published_parameters, flops: of the part.
        ms: median of its runs.
        cpu_ms: median of the processor time of its runs, over all threads. Where other processes
            keep the cores busy it is the fairer figure: a long run is interrupted more often.
        num_runs: how many were timed.
    """

    name: str
    times_a_frame: int
    parameters: int
    published_parameters: int | None
    flops: int
    ms: float
    cpu_ms: float
    num_runs: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A model as it was measured.

    Attributes:
        name, runtime: of the contender.
        parts: what was timed.
    """

    name: str
    runtime: str
    parts: tuple[PartFigures, ...]

    @property
    def frame_ms(self) -> float:
        """The medians of the parts, each as often as a frame runs it."""
        return sum(part.times_a_frame * part.ms for part in self.parts)

    @property
    def frame_cpu_ms(self) -> float:
        """The same of processor time."""
        return sum(part.times_a_frame * part.cpu_ms for part in self.parts)

    @property
    def frame_flops(self) -> int:
        """Of one frame."""
        return sum(part.times_a_frame * part.flops for part in self.parts)

    @property
    def parameters(self) -> int:
        """Of what runs in a frame."""
        return sum(part.parameters for part in self.parts if part.times_a_frame)


def measure(
    contenders: Sequence[Contender],
    *,
    num_rounds: int,
    share_s: float,
    clock: Clock = time.perf_counter,
    cpu_clock: Clock = time.process_time,
) -> tuple[Figures, ...]:
    """Time every part in turns, so that a busy moment of the machine hits all of them.

    A round before the first warms caches and is not counted.

    Args:
        contenders: to compare.
        num_rounds: how often every part gets its turn.
        share_s: how long a turn lasts at least; it is one run or more.
        clock: seconds as they pass, from anywhere.
        cpu_clock: seconds of this process's processor time, from anywhere.

    Raises:
        ValueError: there are no rounds.
    """
    if num_rounds < 1 or share_s < 0:
        raise ValueError(
            f"got {num_rounds} rounds of {share_s} s; expected 1 or more, of 0 s or more"
        )
    times: list[list[list[_Took]]] = [[[] for _ in each.parts] for each in contenders]
    for round_ in range(num_rounds + 1):
        for contender, of_parts in zip(contenders, times, strict=True):
            for part, noted in zip(contender.parts, of_parts, strict=True):
                taken = _turn(part.run, share_s if round_ else 0.0, clock, cpu_clock)
                noted.extend(taken if round_ else ())
    return tuple(
        Figures(
            name=contender.name,
            runtime=contender.runtime,
            parts=tuple(map(_figures, contender.parts, of_parts)),
        )
        for contender, of_parts in zip(contenders, times, strict=True)
    )


def _turn(run: Callable[[], object], share_s: float, clock: Clock, cpu_clock: Clock) -> list[_Took]:
    """Run again and again until the turn is over; how long each run took."""
    taken: list[_Took] = []
    begun = last = clock()
    last_cpu = cpu_clock()
    while not taken or last - begun < share_s:
        run()
        now, now_cpu = clock(), cpu_clock()
        taken.append((1000 * (now - last), 1000 * (now_cpu - last_cpu)))
        last, last_cpu = now, now_cpu
    return taken


def _figures(part: Part, times: list[_Took]) -> PartFigures:
    return PartFigures(
        name=part.name,
        times_a_frame=part.times_a_frame,
        parameters=part.parameters,
        published_parameters=part.published_parameters,
        flops=part.flops,
        ms=median(took for took, _ in times),
        cpu_ms=median(cpu for _, cpu in times),
        num_runs=len(times),
    )
