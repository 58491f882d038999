"""Alignment of faces to ArcFace's template."""

import cv2
import numpy as np
import pytest

from difffae.arrays import ImageU8
from difffae.face.identity import ALIGNED_SIZE_PX, ARCFACE_TEMPLATE, align_face, five_points
from face_media import TrackedPortrait


def smooth_picture(side: int) -> ImageU8:
    raw = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(raw, (side, side), interpolation=cv2.INTER_CUBIC))


def test_a_face_already_on_the_template_is_left_alone() -> None:
    image = smooth_picture(ALIGNED_SIZE_PX)
    np.testing.assert_allclose(align_face(image, ARCFACE_TEMPLATE).astype(int), image, atol=1)


@pytest.mark.parametrize(("turn_deg", "scale", "shift"), [(0, 2, (30, 10)), (35, 1.5, (90, 40))])
def test_a_face_turned_grown_and_shifted_comes_back(
    turn_deg: float, scale: float, shift: tuple[float, float]
) -> None:
    image = smooth_picture(ALIGNED_SIZE_PX)
    matrix = cv2.getRotationMatrix2D((56, 56), turn_deg, scale)
    matrix[:, 2] += np.array(shift) + 60
    moved = np.asarray(cv2.warpAffine(image, matrix, (400, 400)))
    five = (ARCFACE_TEMPLATE @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    back = align_face(moved, five).astype(int)
    inner = slice(4, -4)
    np.testing.assert_allclose(back[inner, inner], image[inner, inner], atol=12)


def test_five_points_run_from_left_to_right_and_top_to_bottom(tracked: TrackedPortrait) -> None:
    left_eye, right_eye, nose, left_mouth, right_mouth = five_points(tracked.points)
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_a_real_face_lands_near_the_template(tracked: TrackedPortrait) -> None:
    five = five_points(tracked.points)
    dots = np.zeros((256, 256, 3), np.uint8)
    for x, y in five:
        cv2.circle(dots, (round(float(x)), round(float(y))), 3, (255, 255, 255), -1)
    aligned = align_face(dots, five)[..., 0].astype(float)
    assert aligned.shape == (112, 112)
    for x, y in ARCFACE_TEMPLATE:
        rows, columns = slice(int(y) - 9, int(y) + 10), slice(int(x) - 9, int(x) + 10)
        assert aligned[rows, columns].max() > 200
