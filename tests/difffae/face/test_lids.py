"""Lids that come down."""

import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.face.eyelids import meet
from difffae.face.facemesh import EYE_RINGS, FaceMeshModel, LidShades
from difffae.face.lids import LID_GAPS, LID_SHAPE, SkinBeside, lid_colours, lids, skin_beside
from difffae.face.renderer import Renderer
from difffae.face.source_face import SourceFace
from difffae.face.surroundings import SurroundingsConfig

SCALE = 60.0
SCALES = (SCALE, SCALE)
LASHES = 5  # the row at the lower lid's edge
SHADES = np.ones((len(LID_GAPS), *LID_SHAPE, 3), np.float32)
SKIN: tuple[SkinBeside, SkinBeside] = (
    np.full((LID_SHAPE[0], 3), 0.8, np.float32),
    np.full((LID_SHAPE[0], 3), 0.4, np.float32),
)


def opened(head_model: FaceMeshModel, *shares: float) -> NDArray[np.float32]:
    """The mean face [px], each eye opened so far by moving its upper lid."""
    points = np.concatenate([head_model.mean, np.zeros((10, 3), np.float32)]) * SCALE + 128
    for ring, share in zip(EYE_RINGS, shares, strict=True):
        upper, lower = list(ring[1:8]), list(ring[:8:-1])
        points[upper] = points[lower] + share * (points[upper] - points[lower])
    return meet(np.asarray(points, np.float32), SCALE)


def shades_at(*values: float) -> LidShades:
    return SHADES * np.float32(values)[:, None, None, None]


def test_open_eyes_are_not_painted(head_model: FaceMeshModel) -> None:
    before = opened(head_model, 1, 1)
    for shares in ((1, 1), (1.2, 1.2), (0.8, 0.75)):
        assert lids(before, opened(head_model, *shares), SCALES, SHADES, SKIN) is None


def test_eyes_that_are_closed_in_the_portrait_are_not_painted(head_model: FaceMeshModel) -> None:
    closed = opened(head_model, 0, 0)
    assert lids(closed, closed, SCALES, SHADES, SKIN) is None


def test_a_closed_lid_is_painted_whole_but_at_its_borders(head_model: FaceMeshModel) -> None:
    closing = lids(opened(head_model, 1, 1), opened(head_model, 0, 0), SCALES, SHADES, SKIN)
    assert closing is not None
    weights = closing.paint[:, 0].reshape(2, *LID_SHAPE)
    assert (weights[:, 2:-2, 2:-2] == 1).all()
    assert (weights[:, [0, -1]] == 0).all()
    assert (weights[..., [0, -1]] == 0).all()


def test_more_is_painted_as_a_lid_comes_down(head_model: FaceMeshModel) -> None:
    before, most = opened(head_model, 1, 1), []
    for share in (0.65, 0.5, 0.35, 0.1):
        closing = lids(before, opened(head_model, share, share), SCALES, SHADES, SKIN)
        assert closing is not None
        most.append(closing.paint[:, 0].max())
    assert (np.diff(most) > 0).sum() >= 2
    assert most[-1] == 1


def test_an_eye_that_is_half_open_stays_seen(head_model: FaceMeshModel) -> None:
    before, half = opened(head_model, 1, 1), opened(head_model, 0.55, 0.55)
    closing = lids(before, half, SCALES, SHADES, SKIN)
    assert closing is not None
    weights = closing.paint[:, 0].reshape(2, *LID_SHAPE)
    assert weights[:, LASHES].max() > 0
    assert (weights[:, LASHES + 1 : LASHES + 3] == 0).all()


def test_a_wink_paints_one_eye_in_the_colour_beside_it(head_model: FaceMeshModel) -> None:
    for eye, shares in enumerate(((0.0, 1.0), (1.0, 0.0))):
        after = opened(head_model, *shares)
        closing = lids(opened(head_model, 1, 1), after, SCALES, SHADES, SKIN)
        assert closing is not None
        assert len(closing.shown) == LID_SHAPE[0] * LID_SHAPE[1]
        assert closing.triangles.max() == len(closing.shown) - 1
        shown = closing.paint[closing.paint[:, 0] == 1]
        np.testing.assert_allclose(shown[:, 1:], SKIN[eye][0, 0], atol=1e-6)
        ring = after[list(EYE_RINGS[eye]), 0]
        assert ring.min() - 1 < closing.shown[:, 0].mean() < ring.max() + 1


def test_shades_are_those_of_eyes_that_are_open_so_far(head_model: FaceMeshModel) -> None:
    before, shades = opened(head_model, 1, 1), shades_at(0.2, 0.4, 0.6, 0.8)
    shown = []
    for share in (0.0, 0.3, 0.45):
        closing = lids(before, opened(head_model, share, share), SCALES, shades, SKIN)
        assert closing is not None
        strongest = closing.paint[closing.paint[:, 0].argmax()]
        shown.append(strongest[1] / strongest[0] / 0.8)
    assert shown[0] == pytest.approx(0.2, abs=1e-5)
    assert (np.diff(shown) > 0).all()


def test_the_second_eye_is_the_mirror_image_of_the_first(head_model: FaceMeshModel) -> None:
    across = np.linspace(0.2, 1, LID_SHAPE[1], dtype=np.float32)[:, None]
    same = (SKIN[0], SKIN[0])
    before, after = opened(head_model, 1, 1), opened(head_model, 0, 0)
    closing = lids(before, after, SCALES, SHADES * across, same)
    assert closing is not None
    first, second = closing.paint.reshape(2, *LID_SHAPE, 4)
    np.testing.assert_allclose(first, second[:, ::-1], atol=1e-6)


def test_the_skin_beside_an_eye_is_plain_skin(head_model: FaceMeshModel) -> None:
    points = opened(head_model, 1, 1)
    image = np.full((256, 256, 3), (200, 150, 120), np.uint8)
    lashes = points[list(EYE_RINGS[0])]
    top, bottom = int(lashes[:, 1].min()), int(lashes[:, 1].max())
    image[top : bottom + 1] = 10
    skin = skin_beside(lid_colours(image, points, 0))
    assert skin.shape == (LID_SHAPE[0], 3)
    np.testing.assert_allclose(skin[[0, -1]], [(200, 150, 120)] * 2, atol=2)
    np.testing.assert_allclose(skin, np.broadcast_to(skin[0], skin.shape), atol=2)


def test_lids_that_close_are_skin_over_a_line_of_lashes(
    source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    face = source_face.fitted
    openings = head_model.eye_openings(face.parameters)
    target = head_model.open_eyes(face.parameters, -openings)
    light = source_face.appearance.lighting
    renderer = Renderer(head_model, SurroundingsConfig(), 256)
    closed = renderer.condition(face, source_face.layers, target, (light, light))
    points = head_model.pose(target, face.residual)
    luma = closed.composite.mean(-1)
    for upper, crease, below in ((159, 27, 23), (386, 257, 253)):
        column = round(float(points[upper, 0]))
        top, line, bottom = (round(float(points[each, 1])) for each in (crease, upper, below))
        lashes, lid = luma[line - 1 : bottom, column].min(), luma[top + 1 : line - 1, column].max()
        assert lashes < 0.6 * lid
    assert closed.warp is not None
    assert closed.warp.paint[..., 0].max() == pytest.approx(1, abs=1e-3)
