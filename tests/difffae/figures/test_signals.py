"""What faces do, in numbers."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.figures.signals import TOPICS, Signs, extreme, followed, turned

REST = Signs(mouth=0.0, smile=0.5, lids=0.2, gaze=0.0, yaw=0.0)


def test_the_moment_of_the_widest_mouth_is_found_and_frames_without_a_face_passed_over() -> None:
    signs = [REST, None, replace(REST, mouth=0.3), replace(REST, mouth=0.2)]
    assert extreme(TOPICS["mouth opens"], signs, REST) == 2


def test_a_face_that_hardly_moves_has_no_moment() -> None:
    assert extreme(TOPICS["turns"], [replace(REST, yaw=3.0)], REST) is None


def test_looking_aside_counts_to_either_side() -> None:
    signs = [replace(REST, gaze=0.1), replace(REST, gaze=-0.2)]
    assert extreme(TOPICS["looks aside"], signs, REST) == 1


def test_half_the_motion_is_half_followed() -> None:
    output = (REST, replace(REST, mouth=0.1))
    assert followed(
        TOPICS["mouth opens"], output, (REST, replace(REST, mouth=0.2))
    ) == pytest.approx(0.5)
    assert np.isnan(followed(TOPICS["mouth opens"], output, (REST, replace(REST, mouth=0.01))))


def test_small_eyes_that_close_follow_large_eyes_that_close() -> None:
    small = replace(REST, lids=0.1)
    closed = followed(
        TOPICS["eyes close"], (small, replace(small, lids=0.0)), (REST, replace(REST, lids=0.0))
    )
    assert closed == pytest.approx(1)


def test_a_turn_to_the_left_is_not_one_to_the_right() -> None:
    assert turned((REST, replace(REST, yaw=-20.0)), 25.0) == pytest.approx(-0.8)
