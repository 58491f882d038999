"""What is said of latency, losses and order follows from the frames that were seen."""

import math

import pytest

from streamer.bench.timeline import Delay, Sighting, figures, matched, unwrapped, window
from streamer.errors import SessionFailedError

PERIOD = 90


def seen_at(numbers: list[int | None], late_s: float = 0.0, fps: float = 30) -> list[Sighting]:
    return [
        Sighting(number=None if number is None else number % PERIOD, time_s=place / fps + late_s)
        for place, number in enumerate(numbers)
    ]


CAMERA = seen_at(list(range(300)))


def test_a_constant_delay_is_found_in_every_part() -> None:
    found = figures(CAMERA, seen_at(list(range(300)), late_s=0.08), period=PERIOD)
    for part in (found.whole, found.early, found.late):
        assert part.p50_ms == pytest.approx(80)
        assert part.p95_ms == pytest.approx(80)
    assert found.fps == pytest.approx(30)
    assert (found.num_dropped, found.num_reordered, found.num_unread) == (0, 0, 0)
    assert found.num_freezes == 0


def test_a_delay_that_grows_shows_at_the_end() -> None:
    late = [Sighting(number=s.number, time_s=1.05 * s.time_s + 0.05) for s in CAMERA]
    found = figures(CAMERA, late, period=PERIOD)
    assert found.late.p50_ms > found.early.p50_ms + 100


def test_a_delay_longer_than_a_second_is_not_taken_for_a_short_one() -> None:
    found = figures(CAMERA, seen_at(list(range(300)), late_s=1.5), period=PERIOD)
    assert found.whole.p50_ms == pytest.approx(1500)


def test_a_result_seen_before_its_preview_is_early_and_not_a_whole_loop_late() -> None:
    delays = matched(CAMERA, seen_at(list(range(300)), late_s=-0.05), PERIOD)
    assert max(delay.delay_s for delay in delays[5:]) == pytest.approx(-0.05)


def test_lost_swapped_and_unreadable_frames_are_counted() -> None:
    numbers: list[int | None] = list(range(300))
    numbers[120] = numbers[121] = 119  # two lost, the one before shown on
    numbers[200], numbers[201] = 201, 200
    numbers[250] = None
    found = figures(CAMERA, seen_at(numbers, late_s=0.05), period=PERIOD)
    assert found.num_dropped == 3
    assert found.num_reordered == 1
    assert found.num_unread == 1


def test_a_number_that_the_camera_shows_twice_was_sent_once() -> None:
    twice = sorted([*CAMERA, *CAMERA[100:110]], key=lambda one: one.time_s)
    found = figures(twice, seen_at(list(range(300)), late_s=0.08), period=PERIOD)
    assert found.num_shown + found.num_dropped == found.num_sent


def test_a_gap_is_a_freeze_when_it_is_long() -> None:
    returned = [s for s in seen_at(list(range(300)), late_s=0.05) if not 4 < s.time_s < 4.5]
    found = figures(CAMERA, returned, period=PERIOD)
    assert found.num_freezes == 1
    assert found.longest_gap_ms == pytest.approx(500, abs=40)


def test_a_frame_that_is_only_repeated_counts_once() -> None:
    twice = [one for one in CAMERA for _ in range(2)]
    found = figures(CAMERA, twice, period=PERIOD)
    assert found.fps == pytest.approx(30)


def test_numbers_go_on_past_the_end_of_the_clip() -> None:
    indices = [index for index, _ in unwrapped(CAMERA, PERIOD)]
    assert indices == list(range(300))


@pytest.mark.parametrize("numbers", [[], [None] * 99, [5] * 99])
def test_a_result_without_numbers_is_an_error(numbers: list[int | None]) -> None:
    with pytest.raises(SessionFailedError, match="frame came back"):
        figures(CAMERA, seen_at(numbers, late_s=0.05), period=PERIOD)


def test_a_window_without_frames_has_no_latency() -> None:
    empty = window([Delay(index=0, time_s=1.0, delay_s=0.1)], 2, 3)
    assert math.isnan(empty.p50_ms)
    assert math.isnan(empty.p95_ms)
