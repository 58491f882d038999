import numpy as np
import pytest

from difffae.arrays import ImageU8
from difffae.metrics.landmarks import LandmarkMeter
from difffae.metrics.motion import SIGNALS, HeadReference


def test_points_of_a_face_lie_on_it_in_pixels(landmarks: LandmarkMeter, portrait: ImageU8) -> None:
    points = landmarks.points(portrait)
    assert points is not None
    assert points.shape == (478, 3)
    nose = points[4]
    assert 100 < nose[0] < 160
    assert 90 < nose[1] < 150
    assert points[10, 1] < nose[1] < points[152, 1]


def test_a_picture_without_a_face_gives_none(landmarks: LandmarkMeter) -> None:
    assert landmarks.points(np.zeros((256, 256, 3), np.uint8)) is None


def test_an_answer_does_not_depend_on_the_frame_before(
    landmarks: LandmarkMeter, rolled: list[ImageU8]
) -> None:
    first = landmarks.points(rolled[0])
    landmarks.points(rolled[2])
    np.testing.assert_array_equal(landmarks.points(rolled[0]), first)


def test_turning_the_picture_turns_the_measured_head(
    landmarks: LandmarkMeter, rolled: list[ImageU8]
) -> None:
    first, third = landmarks.points(rolled[0]), landmarks.points(rolled[2])
    assert first is not None
    assert third is not None
    roll = HeadReference(first).measure(third).signals[SIGNALS.index("roll")]
    assert roll == pytest.approx(8, abs=1)
