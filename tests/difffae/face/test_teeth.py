"""Where one tooth ends and the next begins."""

import numpy as np
import pytest

from difffae.face.facemesh import LOWER_LIP, UPPER_LIP, FaceMeshModel
from difffae.face.mouth import MOUTH_SHAPE, between_lips, mouth, plain_interior
from difffae.face.teeth import (
    TEETH_SHAPE,
    TEETH_WIDTHS,
    picture_places,
    relief_places,
    relieved,
    tooth_share,
)

SCALE = 60.0
MIDDLE_COLUMN = MOUTH_SHAPE[1] // 2


def smiling(head_model: FaceMeshModel, gap: float, widening: float = 1.0) -> np.ndarray:
    """The mean face [px], its inner lips so far apart [head units] and so much wider."""
    points = head_model.mean.copy()
    points[list(LOWER_LIP)] = points[list(UPPER_LIP)]
    points[list(LOWER_LIP[1:-1]), 1] += np.float32(gap)
    points[list(UPPER_LIP + LOWER_LIP), 0] *= np.float32(widening)
    return np.asarray(points * SCALE + 128, np.float32)


def read_at(points: np.ndarray) -> np.ndarray:
    grid = between_lips(points).reshape(*MOUTH_SHAPE, 3)
    return relief_places(grid, points, SCALE)


def test_teeth_keep_their_size_as_a_mouth_widens_and_opens(head_model: FaceMeshModel) -> None:
    narrow, wide = (read_at(smiling(head_model, gap, by)) for gap, by in ((0.1, 1), (0.2, 1.3)))
    middle = (TEETH_SHAPE[1] - 1) / 2
    corners = [places[0, -1, 0] - middle for places in (narrow, wide)]
    assert corners[1] / corners[0] == pytest.approx(1.3, rel=0.03)
    lowest = [places[-1, MIDDLE_COLUMN, 1] for places in (narrow, wide)]
    assert lowest[1] / lowest[0] == pytest.approx(2, rel=0.03)
    assert narrow[0, MIDDLE_COLUMN] == pytest.approx([middle, 0], abs=2)


def test_teeth_stay_in_the_skull_where_the_mouth_is_drawn_aside(head_model: FaceMeshModel) -> None:
    straight = smiling(head_model, 0.2)
    aside = straight.copy()
    aside[list(UPPER_LIP + LOWER_LIP), 0] += np.float32(0.1 * SCALE)
    shift = (read_at(aside) - read_at(straight))[..., 0] * (TEETH_WIDTHS[1] - TEETH_WIDTHS[0])
    np.testing.assert_allclose(shift, 0.1, atol=0.005)


def test_a_reliefs_points_are_read_back_where_they_are_in_the_picture(
    head_model: FaceMeshModel,
) -> None:
    points = smiling(head_model, 0.2)
    places, is_between = picture_places(points, SCALE)
    row, column = np.argwhere(is_between)[len(np.argwhere(is_between)) // 2]
    grid = between_lips(points).reshape(*MOUTH_SHAPE, 3)
    nearest = np.linalg.norm(grid[..., :2] - places[row, column], axis=-1)
    found = read_at(points).reshape(-1, 2)[nearest.argmin()]
    step = (TEETH_WIDTHS[1] - TEETH_WIDTHS[0]) * SCALE
    np.testing.assert_allclose(found, [column, row], atol=nearest.min() / step + 1)
    assert not is_between[-1].any()
    assert not is_between[:, [0, -1]].any()


def test_a_relief_darkens_what_it_is_told_to_and_leaves_the_weight() -> None:
    relief = np.zeros(TEETH_SHAPE, np.float32)
    relief[:, 48] = np.log(0.5)
    paint = np.ones((2, 3, 4), np.float32)
    teeth = np.zeros((2, 3, 3), np.float32)
    teeth[..., 0], teeth[..., 1] = (47, 48, 48), 5
    teeth[0, :, 2] = (1, 1, 0.5)
    carved = relieved(paint, teeth, relief)
    np.testing.assert_allclose(carved[0, :, 1], [1, 0.5, 0.5**0.5], rtol=1e-5)
    assert (carved[1] == 1).all()
    assert (carved[..., 0] == 1).all()
    assert (paint == 1).all()


def test_what_is_dark_is_no_tooth_and_a_portraits_own_teeth_are_left_alone(
    head_model: FaceMeshModel,
) -> None:
    np.testing.assert_allclose(
        tooth_share(np.float32([[0.2, 0.55, 0.9]])), [[0, 0.5, 1]], atol=1e-5
    )
    white = np.full_like(plain_interior(), 1.0)
    closed, opened = smiling(head_model, 0.0), smiling(head_model, 0.2)
    shown = mouth(closed, opened, (SCALE, SCALE), white).teeth[:, 2]
    assert shown.min() > 0.9
    wider = smiling(head_model, 0.3)
    assert mouth(opened, wider, (SCALE, SCALE), white).teeth[:, 2].max() == 0
