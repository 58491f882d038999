"""Eyes that turn."""

import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.face.eyes import (
    NUM_EYE_POINTS,
    Eyes,
    between_lids,
    eye_columns,
    eyes,
    seen_white,
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
GRID = (2, 17, 9)  # eyes, columns, heights
WHITE = np.float32([200, 190, 180])
Points = NDArray[np.float32]


def looking(head_model: FaceMeshModel, aside: float) -> Points:
    """The mean face [px], its irises so far to the right of the middle [eye widths]."""
    points = np.concatenate([head_model.mean, np.zeros((10, 3), np.float32)]) * SCALE + 128
    for iris, corners in zip(IRIS_CENTRES, EYE_CORNERS, strict=True):
        ends = points[list(corners)]
        width = np.abs(ends[1, 0] - ends[0, 0])
        points[iris : iris + 5] = ends.mean(0) + np.float32(aside * width) * np.eye(3)[0]
    return np.asarray(points, np.float32)


def moved_eyes(before: Points, after: Points, scale: float = SCALE) -> Eyes:
    return eyes(before, after, before, (SCALE, scale), WHITE)


def opened(head_model: FaceMeshModel, gap: float) -> Points:
    """The mean face [px], its lids so far above and below the level of the irises [head units]."""
    points = looking(head_model, 0.0)
    for iris, upper, lower in zip(IRIS_CENTRES, UPPER_LIDS, LOWER_LIDS, strict=True):
        arch = np.sin(np.linspace(0, np.pi, len(upper))).astype(np.float32) * gap * SCALE / 2
        for lid, side in ((upper, -1), (lower, 1)):
            points[list(lid), 1] = points[iris, 1] + side * arch
    return points


def shift(head_model: FaceMeshModel, before: float, after: float) -> Points:
    """How far left of itself each point reads, by eye, column and height [eye widths]."""
    faces = [looking(head_model, aside) for aside in (before, after)]
    turned = moved_eyes(*faces)
    widths = [np.ptp(faces[0][list(corners), 0]) for corners in EYE_CORNERS]
    moved = (turned.shown[:, 0] - turned.read[:, 0]).reshape(GRID)
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
    shown = between_lids(face)[:, 0].reshape(GRID)
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
        read = moved_eyes(*faces).read.reshape(2, -1, 2)
        for eye, ring in enumerate(EYE_RINGS):
            lids = faces[0][list(ring), :2]
            assert (read[eye] >= lids.min(0) - 1e-3).all()
            assert (read[eye] <= lids.max(0) + 1e-3).all()


def test_a_closed_eye_has_no_gaze(head_model: FaceMeshModel) -> None:
    open_eye = looking(head_model, 0.0)
    closed = looking(head_model, 0.2)
    closed[np.ravel(UPPER_LIDS)] = closed[np.ravel(LOWER_LIDS)]
    turned = moved_eyes(open_eye, closed)
    assert np.isfinite(turned.shown).all()
    assert np.isfinite(turned.read).all()


def test_lids_slide_over_an_iris_that_stays_as_high_as_it_is(head_model: FaceMeshModel) -> None:
    wide, narrow = opened(head_model, 0.2), opened(head_model, 0.12)
    turned = moved_eyes(wide, narrow)
    moved = (turned.read - turned.shown[:, :2])[:, 1].reshape(GRID)
    middle = moved[:, 8]
    np.testing.assert_allclose(middle[:, 2:-2], 0, atol=0.05)  # [px]
    # lashes come along: the lids' edges read their edges
    assert middle[:, 0] == pytest.approx(-0.04 * SCALE, abs=0.05)
    assert middle[:, -1] == pytest.approx(0.04 * SCALE, abs=0.05)
    assert turned.paint is None


def test_a_widened_eye_shows_white_where_the_portrait_has_lids(head_model: FaceMeshModel) -> None:
    turned = moved_eyes(opened(head_model, 0.12), opened(head_model, 0.3))
    assert turned.paint is not None
    weight = turned.paint[:, 0].reshape(GRID)
    assert weight[:, 8, 1].min() > 0.7  # above the iris
    assert weight[:, 8, 4].max() == 0  # at its centre
    assert weight[:, :, [0, -1]].max() == 0  # lashes
    colour = turned.paint[:, 1:].reshape(*GRID, 3)[:, 8, 1] / weight[:, 8, 1, None]
    np.testing.assert_allclose(colour / WHITE, (colour / WHITE)[:, :1].repeat(3, 1), rtol=1e-4)
    assert 0.7 * WHITE[0] < colour[0, 0] <= WHITE[0]


def test_a_face_that_comes_nearer_widens_no_eye(head_model: FaceMeshModel) -> None:
    far = opened(head_model, 0.15)
    turned = moved_eyes(far, far * 2, 2 * SCALE)
    np.testing.assert_allclose(turned.read, between_lids(far)[:, :2], atol=0.02)
    assert turned.paint is None


def test_white_is_the_eyes_own_and_bright_enough(head_model: FaceMeshModel) -> None:
    points = opened(head_model, 0.2)
    usual = np.float32([160, 150, 140])
    for own, expected in ((210, 200, 150), (210, 200, 150)), ((60, 60, 30), (180, 180, 90)):
        image = np.full((256, 256, 3), own, np.uint8)
        np.testing.assert_allclose(seen_white(image, points, SCALE, usual), expected, rtol=0.01)


def test_closed_eyes_have_the_usual_white(head_model: FaceMeshModel) -> None:
    usual = np.float32([160, 150, 140])
    image = np.full((256, 256, 3), 90, np.uint8)
    assert seen_white(image, opened(head_model, 0.02), SCALE, usual) is usual
