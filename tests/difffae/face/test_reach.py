"""Turns that a portrait cannot follow."""

from dataclasses import replace

import numpy as np
import pytest

from difffae.face.parameters import FaceParameters, axis_angle, matrix
from difffae.face.reach import within_reach
from plain_motion import face


def at(yaw: float, pitch: float = 0, roll: float = 0) -> FaceParameters:
    """A face with these angles [degrees], turned about the picture's vertical last."""
    angles = np.radians([[0, yaw, 0], [pitch, 0, 0], [0, 0, roll]]).astype(np.float32)
    first, second, third = (matrix(each) for each in angles)
    return replace(face(90, 110, 50), rotation=axis_angle(first @ second @ third))


def yaw_of(parameters: FaceParameters) -> float:
    forward = matrix(parameters.rotation)[:, 2]
    return float(np.degrees(np.arctan2(forward[0], forward[2])))


@pytest.mark.parametrize(("own", "asked"), [(0, 30), (0, -30), (50, -30), (50, 49), (-50, 30)])
def test_turns_that_a_portrait_can_follow_are_shown_as_they_are(own: float, asked: float) -> None:
    target = at(asked, pitch=10, roll=5)
    assert within_reach(target, at(own)) is target


@pytest.mark.parametrize("sign", [-1, 1])
def test_further_turns_are_shown_in_part_and_never_the_other_way(sign: int) -> None:
    asked = np.arange(20, 120, 2)
    shown = np.array([sign * yaw_of(within_reach(at(sign * yaw), at(0))) for yaw in asked])
    assert (np.diff(shown) > -1e-3).all()
    assert shown.max() < 44.1
    assert (shown <= asked + 1e-3).all()
    assert np.diff(shown).max() < 2.01


def test_what_is_not_yaw_stays() -> None:
    target = at(60, pitch=12, roll=-8)
    shown = within_reach(target, at(0))
    expected = at(yaw_of(shown), pitch=12, roll=-8)
    np.testing.assert_allclose(matrix(shown.rotation), matrix(expected.rotation), atol=1e-5)
    assert shown.scale == target.scale
    assert np.array_equal(shown.expression, target.expression)
