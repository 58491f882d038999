"""Eyelids that close."""

import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.face.eyelids import meet, unfolded
from difffae.face.facemesh import EYE_RINGS, FaceMeshModel

SCALE = 60.0
CREASE, SOCKET = 27, 223  # above the middle of the subject's right eye
BROWS = (46, 276)


def opened(head_model: FaceMeshModel, share: float) -> NDArray[np.float32]:
    """The mean face [px], its eyes opened so far by moving the upper lids."""
    points = np.concatenate([head_model.mean, np.zeros((10, 3), np.float32)]) * SCALE + 128
    for ring in EYE_RINGS:
        upper, lower = list(ring[1:8]), list(ring[:8:-1])
        points[upper] = points[lower] + share * (points[upper] - points[lower])
    return np.asarray(points, np.float32)


def gaps(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far each upper lid point is above the one below it [px]."""
    rings = [(list(ring[1:8]), list(ring[:8:-1])) for ring in EYE_RINGS]
    return np.concatenate([points[lower, 1] - points[upper, 1] for upper, lower in rings])


def test_open_eyes_are_left_as_they_are(head_model: FaceMeshModel) -> None:
    points = opened(head_model, 1.0)
    assert np.array_equal(meet(points, SCALE), points)
    assert np.array_equal(unfolded(points, points, (SCALE, SCALE)), points)


def test_a_slit_closes_for_good_by_the_upper_lid_above_all(head_model: FaceMeshModel) -> None:
    slit = opened(head_model, 0.12)
    closed = meet(slit, SCALE)
    assert gaps(slit).min() > 0
    assert gaps(closed).max() < 0
    upper, lower = list(EYE_RINGS[0][1:8]), list(EYE_RINGS[0][:8:-1])
    moved = [np.abs(closed[row] - slit[row]).sum() for row in (upper, lower)]
    assert moved[0] > 4 * moved[1]


def test_a_closing_eye_closes_steadily(head_model: FaceMeshModel) -> None:
    shares = np.linspace(0.6, 0.1, 12)
    openings = [gaps(meet(opened(head_model, share), SCALE)).mean() for share in shares]
    assert (np.diff(openings) < 0).all()


def test_a_closed_lid_shows_the_skin_above_its_crease(head_model: FaceMeshModel) -> None:
    before, after = opened(head_model, 1.0), meet(opened(head_model, 0.05), SCALE)
    texture = unfolded(before, after, (SCALE, SCALE))
    rise = (before[CREASE, 1] - texture[CREASE, 1]) / (before[CREASE, 1] - before[SOCKET, 1])
    assert rise == pytest.approx(0.9, abs=0.02)
    assert np.array_equal(texture[list(BROWS)], before[list(BROWS)])
    assert np.array_equal(texture[468:], before[468:])


def test_an_eye_closed_in_the_portrait_has_nothing_to_unfold(head_model: FaceMeshModel) -> None:
    before, after = opened(head_model, 0.1), opened(head_model, 0.02)
    assert np.array_equal(unfolded(before, after, (SCALE, SCALE)), before)
