"""The inside of a mouth."""

import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.face.facemesh import CHIN, FOREHEAD, LOWER_LIP, UPPER_LIP, FaceMeshModel
from difffae.face.mouth import (
    MIDDLE,
    MOUTH_GAPS,
    MOUTH_SHAPE,
    MOUTH_WIDTHS,
    NUM_MOUTH_POINTS,
    Mouth,
    between_lips,
    hung,
    lip_above_chin,
    lips_apart,
    mouth,
    mouth_cells,
    plain_interior,
    tint,
)

SCALE = 60.0
Points = NDArray[np.float32]


def opened(head_model: FaceMeshModel, gap: float) -> Points:
    """The mean face [px], its lower lip moved so that the middle is so far open [head units]."""
    points = head_model.mean.copy()
    bulge = np.sin(np.linspace(0, np.pi, len(UPPER_LIP)))
    points[list(LOWER_LIP)] = points[list(UPPER_LIP)]
    middle = bulge[3:8].mean()
    points[list(LOWER_LIP), 1] += np.float32(gap / middle) * bulge
    return np.asarray(points * SCALE + 128, np.float32)


def moved(head_model: FaceMeshModel, before: float, after: float) -> Mouth:
    faces = [opened(head_model, gap) for gap in (before, after)]
    return mouth(*faces, (SCALE, SCALE), plain_interior())


def widened(points: Points, width: float) -> Points:
    """The same with the corners of the mouth so far apart [head units]."""
    corners = points[[UPPER_LIP[0], UPPER_LIP[-1]]]
    middle = corners.mean(0)
    share = np.float32(width * SCALE / np.linalg.norm(corners[1] - corners[0]))
    wider = points.copy()
    wider[[UPPER_LIP[0], UPPER_LIP[-1]]] = middle + share * (corners - middle)
    return wider


def middle_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the column in the middle, from the upper lip down."""
    return values.reshape(*MOUTH_SHAPE, -1)[:, MOUTH_SHAPE[1] // 2]


def test_cells_fill_the_mouth_and_share_no_area(head_model: FaceMeshModel) -> None:
    cells = mouth_cells(1000) - 1000
    assert cells.min() == 0
    assert cells.max() == NUM_MOUTH_POINTS - 1
    points = opened(head_model, 0.3)
    a, b, c = np.moveaxis(between_lips(points)[cells][..., :2], 1, 0)
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    x, y = points[[*UPPER_LIP, *LOWER_LIP[-2:0:-1]], :2].T
    whole = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    assert np.abs(ux * vy - uy * vx).sum() / 2 == pytest.approx(whole, rel=1e-3)


def test_lips_are_points_of_the_grid_so_that_no_crack_is_between(
    head_model: FaceMeshModel,
) -> None:
    points = opened(head_model, 0.3)
    grid = between_lips(points).reshape(*MOUTH_SHAPE, 3)
    np.testing.assert_allclose(grid[0, ::2], points[list(UPPER_LIP)], atol=1e-4)
    np.testing.assert_allclose(grid[-1, ::2], points[list(LOWER_LIP)], atol=1e-4)


def test_a_mouth_that_stays_reads_itself_and_is_not_painted(head_model: FaceMeshModel) -> None:
    still = moved(head_model, 0.2, 0.2)
    np.testing.assert_allclose(still.read, still.shown[:, :2], atol=1e-2)
    assert still.paint.max() == 0


def test_teeth_stay_as_a_smile_opens_and_what_comes_below_is_painted(
    head_model: FaceMeshModel,
) -> None:
    opening = moved(head_model, 0.15, 0.45)
    shown, read, paint = (middle_of(x) for x in (opening.shown, opening.read, opening.paint))
    below = (shown[:, 1] - shown[0, 1]) / SCALE
    np.testing.assert_allclose(read[below < 0.1, 1], shown[below < 0.1, 1], atol=0.1)
    assert paint[below < 0.1, 0].max() == 0
    assert paint[(below > 0.2) & (below < 0.4), 0].min() == 1


def test_lips_that_close_cover_teeth_and_do_not_press_them_together(
    head_model: FaceMeshModel,
) -> None:
    closing = moved(head_model, 0.4, 0.1)
    shown, read = (middle_of(x) for x in (closing.shown, closing.read))
    np.testing.assert_allclose(read[:, 1], shown[:, 1], atol=0.1)
    assert closing.paint.max() == 0


def test_lips_about_to_meet_show_a_dark_line_and_no_teeth(head_model: FaceMeshModel) -> None:
    def painted(before: float, after: float) -> float:
        return float(middle_of(moved(head_model, before, after).paint)[6, 0])

    assert painted(0.3, 0.01) == pytest.approx(1)
    assert painted(0.3, 0.15) == 0
    assert painted(0.05, 0.05) < 0.7  # a portrait that smiles with so little open keeps its teeth
    steps = [painted(0.3, gap) for gap in np.linspace(0.08, 0.02, 7)]
    assert (np.diff(steps) >= 0).all()
    assert steps[-1] > steps[0]


def test_a_mouth_that_showed_nothing_is_painted_all_over(head_model: FaceMeshModel) -> None:
    opening = moved(head_model, 0.0, 0.3)
    assert opening.paint[:, 0].min() == 1


def test_a_mouth_open_in_speech_keeps_its_own_inside(head_model: FaceMeshModel) -> None:
    assert moved(head_model, 0.55, 0.9).paint.max() == 0


def test_the_inside_is_that_of_mouths_open_as_far_and_as_wide(head_model: FaceMeshModel) -> None:
    interior = np.zeros_like(plain_interior())
    interior[:] = np.arange(len(MOUTH_GAPS), dtype=np.float32)[:, None, None, None, None]
    interior[..., 1] = np.arange(len(MOUTH_WIDTHS), dtype=np.float32)[:, None, None]
    gaps = 0.0, (MOUTH_GAPS[3] + MOUTH_GAPS[4]) / 2
    faces = [widened(opened(head_model, gap), MOUTH_WIDTHS[1]) for gap in gaps]
    painted = mouth(*faces, (SCALE, SCALE), interior).paint
    np.testing.assert_allclose(painted[:, 1], 3.5, atol=0.06)
    np.testing.assert_allclose(painted[:, 2], 1, atol=0.01)


def test_teeth_hang_from_their_jaws_whatever_the_gap() -> None:
    rows = np.linspace(0, 1, MOUTH_SHAPE[0], dtype=np.float32)
    inside = np.zeros((*MOUTH_SHAPE, 3), np.float32)
    inside[...] = np.where(rows < 0.5, 0.2 * rows, 0.2 * (1 - rows))[:, None, None]  # to its lip
    wider = hung(inside, 0.2, 0.5)
    np.testing.assert_allclose(wider[:3, 0, 0], 0.5 * rows[:3], atol=1e-6)
    np.testing.assert_allclose(wider[-3:, 0, 0], 0.5 * (1 - rows[-3:]), atol=1e-6)
    np.testing.assert_allclose(hung(inside, 0.2, 0.2), inside, atol=1e-6)
    narrower = hung(inside, 0.2, 0.1)
    np.testing.assert_allclose(narrower[:6, 0, 0], 0.1 * rows[:6], atol=1e-6)


def test_a_mouth_is_dark_behind_teeth_that_keep_their_light(head_model: FaceMeshModel) -> None:
    shown = {
        level: mouth(
            opened(head_model, 0.0),
            opened(head_model, 0.3),
            (SCALE, SCALE),
            np.full_like(plain_interior(), level),
        ).paint[:, 1:]
        for level in (0.9, 0.6, 0.3)
    }
    np.testing.assert_allclose(shown[0.9], 0.9, rtol=1e-5)
    assert 0.6 * 0.6 < shown[0.6].mean() < 0.6 * 0.9
    assert shown[0.3].mean() < 0.3 * 0.6


def test_a_smile_is_not_dark_behind_its_teeth_a_laugh_is(head_model: FaceMeshModel) -> None:
    def shown(gap: float, width: float) -> float:
        faces = opened(head_model, 0.0), widened(opened(head_model, gap), width)
        grey = np.full_like(plain_interior(), 0.5)
        return float(mouth(*faces, (SCALE, SCALE), grey).paint[:, 1:].mean())

    assert shown(0.14, 1.1) == pytest.approx(0.5, abs=0.01)
    assert shown(0.14, 0.75) < 0.4
    assert shown(0.45, 1.1) < 0.4


def test_lips_that_passed_through_one_another_meet(head_model: FaceMeshModel) -> None:
    crossed = opened(head_model, -0.1)
    apart = lips_apart(crossed)
    gaps = apart[list(LOWER_LIP), 1] - apart[list(UPPER_LIP), 1]
    np.testing.assert_allclose(gaps, 0, atol=0.05)
    others = np.setdiff1d(np.arange(468), [*UPPER_LIP, *LOWER_LIP])
    np.testing.assert_array_equal(apart[others], crossed[others])


def test_lips_that_did_not_stay_as_they_are(head_model: FaceMeshModel) -> None:
    points = opened(head_model, 0.1)
    np.testing.assert_array_equal(lips_apart(points), points)


def test_a_lip_that_drops_pushes_the_skin_below_it_down(head_model: FaceMeshModel) -> None:
    outline, below = [91, 181, 84, 17, 314, 405, 321], [106, 182, 83, 18, 313, 406, 335]
    before = opened(head_model, 0.1)
    dropped = before.copy()
    dropped[outline, 1] += 15
    room = before[below, 1] - before[outline, 1]
    assert (dropped[below, 1] < dropped[outline, 1] + room / 2).any()
    after = lip_above_chin(dropped, before, (SCALE, SCALE))
    assert (after[below, 1] >= after[outline, 1] + room / 2 - 0.25).all()  # the head is tilted
    kept = [CHIN, FOREHEAD, *UPPER_LIP, *LOWER_LIP, *outline]
    np.testing.assert_allclose(after[kept], dropped[kept], atol=1e-4)
    column = [17, 18, 200, 199, 175, CHIN]  # from the lip to the chin
    assert (np.diff(after[column, 1]) > 0).all()


def test_a_lip_with_room_below_it_moves_nothing_else(head_model: FaceMeshModel) -> None:
    before = opened(head_model, 0.1)
    after = opened(head_model, 0.3)
    assert lip_above_chin(after, before, (SCALE, SCALE)) is after


def test_a_grey_portrait_has_grey_teeth_and_a_blue_one_blue_teeth() -> None:
    teeth = np.float32([0.8, 0.9, 1.0])
    grey = tint(np.full(3, 120, np.float32)) @ teeth
    np.testing.assert_allclose(grey, grey.mean(), rtol=1e-4)
    blue = tint(np.float32([60, 120, 180])) @ teeth
    assert blue[2] > 1.5 * blue[0]


def test_teeth_of_dark_skin_are_brighter_beside_it_but_darker_than_those_of_light_skin() -> None:
    teeth = np.ones(3, np.float32)
    light, dark = (np.float32([215, 165, 138]) * tone for tone in (1, 0.5))
    beside_light, beside_dark = (tint(skin) @ teeth for skin in (light, dark))
    assert (beside_dark / dark > 1.15 * beside_light / light).all()
    assert (beside_dark < beside_light).all()


def test_teeth_are_whiter_than_the_skin_is_beside_them() -> None:
    brown = np.float32([140, 90, 60])
    usual = np.float32([188, 143, 120])
    shown = [tint(skin) @ np.ones(3, np.float32) for skin in (brown, usual)]
    casts = [colour[0] / colour[2] for colour in shown]
    assert casts[0] < brown[0] / brown[2]
    assert casts[0] > casts[1]


def test_the_columns_in_the_middle_are_those_between_the_lips_middles() -> None:
    columns = np.arange(MOUTH_SHAPE[1])[MIDDLE]
    assert columns[0] == 2 * 3
    assert columns[-1] == 2 * 7
