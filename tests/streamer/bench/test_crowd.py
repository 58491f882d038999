"""Frames of the measured stretch count, and two sessions of a real server both get some."""

import math
from dataclasses import replace

import pytest

from streamer.bench.crowd import by_sessions, crowd_point
from streamer.bench.live_client import Seen
from streamer.errors import UsageError


def seen(came_s: float, latency_s: float = 0.1) -> Seen:
    return Seen(number=round(100 * came_s), came_s=came_s, sent_s=came_s - latency_s)


def test_frames_before_and_after_the_stretch_do_not_count() -> None:
    first = [seen(9.9), seen(10.0), seen(11.0), seen(12.0)]
    second = [seen(10.5, latency_s=0.3)]
    point = crowd_point([first, second], 10.0, 12.0, 700.0)
    assert point.fps == (1.0, 0.5)
    assert (point.num_sessions, point.total_fps, point.server_megabytes) == (2, 1.5, 700.0)
    assert point.p50_ms == pytest.approx(100)
    assert point.p95_ms == pytest.approx(280)


def test_a_frame_that_is_sent_again_counts_once() -> None:
    first = seen(10.2)
    point = crowd_point([[first, replace(first, came_s=10.6)]], 10.0, 11.0, 1.0)
    assert point.fps == (1.0,)
    assert point.p95_ms == pytest.approx(100)


def test_a_session_without_a_frame_has_a_rate_but_no_latency() -> None:
    point = crowd_point([[]], 0.0, 1.0, 1.0)
    assert point.fps == (0.0,)
    assert math.isnan(point.p50_ms)


@pytest.mark.parametrize(("counts", "seconds"), [([0], 1.0), ([1], 0.0)])
def test_no_session_and_no_time_are_refused(counts: list[int], seconds: float) -> None:
    with pytest.raises(UsageError, match="expected sessions and a time above 0"):
        by_sessions(counts, "pass", seconds)


def test_two_sessions_at_once_both_get_their_frames(portrait: object) -> None:
    (point,) = by_sessions([2], "pass", 1.0)
    assert len(point.fps) == 2
    assert point.total_fps > 0
    assert point.p95_ms >= point.p50_ms > 0
    assert point.server_megabytes > 10
