"""What a camera is asked for, by a clock of our own."""

from collections.abc import Callable

import pytest

from streamer.camera_rate import CameraRate, Count, RateSettings

CAMERA_FPS = 30.0


def asked(
    can_use_fps: Callable[[float], float],
    *,
    end_s: int = 60,
    camera_fps: float = CAMERA_FPS,
    is_heeded: bool = True,
) -> list[int | None]:
    """What was asked for after each second; the model uses all that comes until it cannot."""
    rate, wanted = CameraRate(), list[int | None]()
    received = dropped = 0.0
    for second in range(end_s):
        rate.observe(Count(now_s=second, received=round(received), dropped=round(dropped)))
        wanted.append(rate.wanted_fps)
        heeded = rate.wanted_fps if is_heeded else None
        sent = camera_fps if heeded is None else min(camera_fps, heeded)
        received += sent
        dropped += max(0.0, sent - can_use_fps(second))
    return wanted


@pytest.mark.parametrize("fps", [12.0, 16.0, 20.0])
def test_a_little_more_is_asked_for_than_is_used(fps: float) -> None:
    found = [one for one in asked(lambda _: fps)[10:] if one is not None]
    usual = sorted(found)[len(found) // 2]
    assert fps < usual <= 1.3 * fps
    assert len(found) == 50


def test_a_model_that_uses_all_of_the_camera_leaves_it_alone() -> None:
    assert set(asked(lambda _: 29.0)) == {None}


def test_what_was_slow_for_a_while_gets_the_whole_camera_back() -> None:
    found = asked(lambda second: 12.0 if second < 20 else 40.0, end_s=60)
    assert found[19] is not None
    assert found[19] < 18
    assert found[-1] is None


def test_it_is_tried_higher_although_some_frames_are_always_dropped() -> None:
    """Frames that come in bunches are dropped also where there is time for more of them."""
    rate, received, dropped = CameraRate(), 0.0, 0.0
    for second in range(90):
        rate.observe(Count(now_s=second, received=round(received), dropped=round(dropped)))
        sent = min(CAMERA_FPS, rate.wanted_fps or CAMERA_FPS)
        received += sent
        dropped += 0.1 * sent if second > 4 else 0.6 * sent
        assert second != 4 or rate.wanted_fps == 14
    assert rate.wanted_fps is None


def test_it_never_asks_for_less_than_ten() -> None:
    found = [one for one in asked(lambda _: 2.0) if one is not None]
    assert set(found) == {RateSettings().least_fps}


def test_a_client_that_takes_no_notice_is_told_what_is_used_all_the_same() -> None:
    found = asked(lambda second: 12.0 if second < 20 else 20.0, is_heeded=False)
    assert found[19] == 14
    assert found[-1] == 23


def test_a_slow_camera_is_not_limited() -> None:
    assert set(asked(lambda _: 20.0, camera_fps=15.0)) == {None}


def test_counts_of_another_stream_begin_anew() -> None:
    rate = CameraRate()
    for second, dropped in enumerate((0, 15, 30, 0, 1, 2)):
        rate.observe(Count(now_s=second, received=30 * second, dropped=dropped))
        if second == 2:
            assert rate.wanted_fps == 17
            rate.release()
    assert rate.wanted_fps is None
