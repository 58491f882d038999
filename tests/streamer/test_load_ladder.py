"""What is given up under load, in which order, and that it comes back."""

from collections.abc import Callable

import pytest

from streamer.load_ladder import (
    LadderSettings,
    Load,
    LoadState,
    Rung,
    is_kept,
    ladder,
    observe,
    rung,
)

SETTINGS = LadderSettings(give_up_after_s=1, give_back_after_s=5, spare=0.2)
INTERVAL_S = 0.04


def rungs_over_time(
    model_s: Callable[[Rung, float], float], wanted_steps: int, end_s: float
) -> list[tuple[float, Rung]]:
    """When the rung changed, and to what, with one result each 40 ms of a clock of our own."""
    state = LoadState()
    changes = [(0.0, rung(state, wanted_steps))]
    for count in range(round(end_s / INTERVAL_S)):
        now_s = count * INTERVAL_S
        here = rung(state, wanted_steps)
        load = Load(now_s=now_s, model_s=model_s(here, now_s), interval_s=INTERVAL_S)
        state = observe(state, load, wanted_steps, SETTINGS)
        if rung(state, wanted_steps) != changes[-1][1]:
            changes.append((now_s, rung(state, wanted_steps)))
    return changes


def test_steps_are_given_up_before_frames() -> None:
    pairs = [(allowed.steps, allowed.keep_every) for allowed in ladder(4)]
    assert pairs[:4] == [(4, 1), (2, 1), (1, 1), (1, 1.25)]
    assert [every for _, every in pairs[3:]] == [1.25, 1.5, 2, 3, 4]
    assert ladder(1)[0] == Rung(steps=1, keep_every=1)
    assert len(ladder(1)) == 6


def test_a_model_that_keeps_up_is_left_alone() -> None:
    assert len(rungs_over_time(lambda here, now_s: 0.039, 4, 60)) == 1


def test_a_single_slow_result_changes_nothing() -> None:
    slow_once = rungs_over_time(lambda here, now_s: 0.2 if now_s == 2.0 else 0.03, 4, 20)
    assert len(slow_once) == 1


def test_a_slow_model_is_relieved_until_it_keeps_up_and_stays_there() -> None:
    changes = rungs_over_time(lambda here, now_s: 0.03 * here.steps, 4, 120)
    assert [(here.steps, here.keep_every) for _, here in changes] == [(4, 1), (2, 1), (1, 1)]
    assert [when for when, _ in changes] == pytest.approx([0, 1.0, 2.04])
    changes = rungs_over_time(lambda here, now_s: 0.1, 1, 120)
    assert [here.keep_every for _, here in changes] == [1, 1.25, 1.5, 2, 3]


def test_all_of_it_comes_back_when_the_load_is_gone() -> None:
    def busy_at_first(here: Rung, now_s: float) -> float:
        return (0.1 if now_s < 20 else 0.005) * here.steps

    changes = rungs_over_time(busy_at_first, 4, 60)
    levels = [ladder(4).index(here) for _, here in changes]
    assert levels == [0, 1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1, 0]
    first_back_s = changes[7][0]
    assert first_back_s == pytest.approx(25.0)


def test_the_last_rung_is_kept_however_slow_the_model_is() -> None:
    changes = rungs_over_time(lambda here, now_s: 9.0, 2, 60)
    assert changes[-1][1] == Rung(steps=1, keep_every=4)
    assert rung(LoadState(level=99), 2) == Rung(steps=1, keep_every=4)


def test_fewer_wanted_steps_while_under_load_do_not_go_below_the_last_rung() -> None:
    load = Load(now_s=0, model_s=9.0, interval_s=INTERVAL_S)
    assert observe(LoadState(level=9), load, 1, SETTINGS).level == 5


def test_of_the_frames_every_nth_is_kept() -> None:
    assert [number for number in range(10) if is_kept(number, 3)] == [0, 3, 6, 9]
    assert [number for number in range(10) if is_kept(number, 1.25)] == [0, 2, 3, 4, 5, 7, 8, 9]
    assert all(is_kept(number, 1) for number in range(5))
