"""Eyes that turn."""

import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.face.eyes import (
    NUM_EYE_POINTS,
    between_lids,
    eye_columns,
    eyes,
)
from difffae.face.facemesh import (
    EYE_CORNERS,
    EYE_RINGS,
    IRIS_CENTRES,
    LOWER_LIDS,
    UPPER_LIDS,
    FaceMeshModel,
)

SCALE = 60.0
Points = NDArray[np.float32]


def looking(head_model: FaceMeshModel, aside: float) -> Points:
    """The mean face [px], its irises so far to the right of the middle [eye widths]."""
    points = np.concatenate([head_model.mean, np.zeros((10, 3), np.float32)]) * SCALE + 128
    for iris, corners in zip(IRIS_CENTRES, EYE_CORNERS, strict=True):
        ends = points[list(corners)]
        width = np.abs(ends[1, 0] - ends[0, 0])
        points[iris : iris + 5] = ends.mean(0) + np.float32(aside * width) * np.eye(3)[0]
    return np.asarray(points, np.float32)


def shift(head_model: FaceMeshModel, before: float, after: float) -> Points:
    """How far left of itself each point reads, by eye, column and height [eye widths]."""
    faces = [looking(head_model, aside) for aside in (before, after)]
    turned = eyes(*faces, faces[0], SCALE)
    widths = [np.ptp(faces[0][list(corners), 0]) for corners in EYE_CORNERS]
    moved = (turned.shown[:, 0] - turned.read[:, 0]).reshape(2, 17, 5)
    return np.asarray(moved / np.array(widths)[:, None, None], np.float32)


def test_columns_run_from_the_upper_lid_to_the_lower() -> None:
    for upper, lower, ring in zip(UPPER_LIDS, LOWER_LIDS, EYE_RINGS, strict=True):
        assert {*upper, *lower} == set(ring)
        assert (upper[0], upper[-1]) == (lower[0], lower[-1])
        assert len(set(upper[1:-1]) & set(lower[1:-1])) == 0


def test_triangles_fill_both_eyes_and_share_no_area(head_model: FaceMeshModel) -> None:
    triangles = eye_columns(1000) - 1000
    assert triangles.min() == 0
    assert triangles.max() == NUM_EYE_POINTS - 1
    a, b, c = np.moveaxis(between_lids(head_model.mean)[triangles][..., :2], 1, 0)
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    areas = np.abs(ux * vy - uy * vx) / 2
    for eye, ring in enumerate(EYE_RINGS):
        x, y = head_model.mean[list(ring), :2].T
        whole = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
        half = len(triangles) // 2
        assert areas[eye * half : (eye + 1) * half].sum() == pytest.approx(whole, rel=0.02)


def test_an_eye_that_does_not_turn_reads_where_it_is(head_model: FaceMeshModel) -> None:
    assert np.abs(shift(head_model, 0.05, 0.05)).max() < 1e-5


@pytest.mark.parametrize("aside", [-0.12, 0.12])
def test_the_iris_turns_whole_and_the_corners_stay(head_model: FaceMeshModel, aside: float) -> None:
    moved = shift(head_model, 0.0, aside)
    assert moved[:, [0, -1]] == pytest.approx(0, abs=1e-5)
    face = looking(head_model, aside)
    shown = between_lids(face)[:, 0].reshape(2, 17, 5)
    for eye, iris in enumerate(IRIS_CENTRES):
        width = np.ptp(face[list(EYE_CORNERS[eye]), 0])
        near = np.abs(shown[eye].mean(1) - face[iris, 0]) < 0.12 * width
        assert near.sum() >= 2
        # from the upper lid to the lower: all heights alike
        assert moved[eye][near] == pytest.approx(aside, abs=0.03)


def test_an_iris_goes_under_the_corner(head_model: FaceMeshModel) -> None:
    moved = shift(head_model, 0.0, 0.4)
    right = moved[0, -1] if UPPER_LIDS[0][-1] == 133 else moved[0, 0]
    assert right == pytest.approx(0.4, abs=0.05)


def test_nothing_read_is_outside_the_lids(head_model: FaceMeshModel) -> None:
    for after in (-0.4, 0.4):
        faces = [looking(head_model, aside) for aside in (0.35, after)]
        read = eyes(*faces, faces[0], SCALE).read.reshape(2, -1, 2)
        for eye, ring in enumerate(EYE_RINGS):
            lids = faces[0][list(ring), :2]
            assert (read[eye] >= lids.min(0) - 1e-3).all()
            assert (read[eye] <= lids.max(0) + 1e-3).all()


def test_a_closed_eye_has_no_gaze(head_model: FaceMeshModel) -> None:
    open_eye = looking(head_model, 0.0)
    closed = looking(head_model, 0.2)
    closed[np.ravel(UPPER_LIDS)] = closed[np.ravel(LOWER_LIDS)]
    turned = eyes(open_eye, closed, open_eye, SCALE)
    assert np.isfinite(turned.shown).all()
    assert np.isfinite(turned.read).all()
