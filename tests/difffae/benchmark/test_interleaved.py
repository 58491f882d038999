"""Turns: what runs, in which order, and the medians that come out, by a clock of the test's own."""

from dataclasses import dataclass, field

import pytest

from difffae.benchmark.interleaved import Contender, Part, measure


@dataclass
class Script:
    """Runs that take as long as the script says, noted as they come."""

    now_s: float = 0.0
    ran: list[str] = field(default_factory=list)

    def clock(self) -> float:
        return self.now_s

    def cpu_clock(self) -> float:
        return self.now_s / 2

    def part(self, name: str, *seconds: float, times_a_frame: int = 1) -> Part:
        left = list(seconds)

        def run() -> None:
            self.ran.append(name)
            self.now_s += left.pop(0)

        return Part(
            name=name, run=run, times_a_frame=times_a_frame, parameters=len(name), flops=1000
        )


def contender(*parts: Part) -> Contender:
    return Contender(name="+".join(part.name for part in parts), runtime="script", parts=parts)


def test_parts_take_turns_and_the_first_round_does_not_count() -> None:
    script = Script()
    two = [
        contender(script.part("a", 9, 1, 5, 2), script.part("b", 9, 3, 3, 3, times_a_frame=20)),
        contender(script.part("c", 9, 4, 8, 6)),
    ]
    first, second = measure(
        two, num_rounds=3, share_s=0, clock=script.clock, cpu_clock=script.cpu_clock
    )
    assert script.ran == list("abcabcabcabc")
    assert [part.ms for part in first.parts] == [2000, 3000]
    assert [part.num_runs for part in first.parts] == [3, 3]
    assert first.frame_ms == 2000 + 20 * 3000
    assert first.frame_cpu_ms == first.frame_ms / 2
    assert first.frame_flops == 21 * 1000
    assert second.frame_ms == 6000


def test_a_turn_lasts_as_long_as_it_is_told() -> None:
    script = Script()
    quick, slow = script.part("quick", *[0.25] * 5), script.part("slow", 3, 3)
    figures = measure(
        [contender(quick, slow)],
        num_rounds=1,
        share_s=1.0,
        clock=script.clock,
        cpu_clock=script.cpu_clock,
    )
    assert script.ran == ["quick", "slow", *["quick"] * 4, "slow"]
    assert [part.num_runs for part in figures[0].parts] == [4, 1]


def test_what_runs_once_a_source_counts_in_no_frame() -> None:
    script = Script()
    parts = script.part("once", 1, 1, times_a_frame=0), script.part("always", 2, 2)
    (figures,) = measure(
        [contender(*parts)], num_rounds=1, share_s=0, clock=script.clock, cpu_clock=script.cpu_clock
    )
    assert figures.frame_ms == 2000
    assert figures.frame_flops == 1000
    assert figures.parameters == len("always")


@pytest.mark.parametrize(("num_rounds", "share_s"), [(0, 1.0), (1, -1.0)])
def test_no_rounds_and_no_time_are_refused(num_rounds: int, share_s: float) -> None:
    with pytest.raises(ValueError, match="expected 1 or more, of 0 s or more"):
        measure([], num_rounds=num_rounds, share_s=share_s)
