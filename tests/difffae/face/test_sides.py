"""The sides of a face that turns."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from difffae.face.facemesh import FACE_OVAL, FaceMeshModel
from difffae.face.morphable import FittedFace
from difffae.face.parameters import FaceParameters
from difffae.face.sides import Sides, border_shares, side_depths, side_triangles, sides

RESIDUAL = np.zeros((478, 3), np.float32)
BORDER = list(FACE_OVAL)
JAWS = (58, 288)  # picture's left and right


def face(fitted: FittedFace, yaw_deg: float, scale: float = 60) -> FaceParameters:
    turn = Rotation.from_euler("y", yaw_deg, degrees=True).as_rotvec().astype(np.float32)
    middle = np.array([128, 128], np.float32)
    return replace(fitted.parameters, rotation=turn, scale=scale, translation=middle)


@pytest.fixture(name="fitted")
def a_fitted_face(head_model: FaceMeshModel) -> FittedFace:
    points = np.concatenate([head_model.mean, np.zeros((10, 3), np.float32)]) * 60 + 128
    return head_model.fit(points.astype(np.float32))


def strip(
    head_model: FaceMeshModel, source: FaceParameters, target: FaceParameters
) -> tuple[Sides, NDArray[np.float32], NDArray[np.float32]]:
    before, after = (head_model.pose(each, RESIDUAL) for each in (source, target))
    made = sides(before, after, (source, target), side_depths(head_model.mean))
    width = np.linalg.norm(made.shown[:, :2] - after[BORDER, :2], axis=1)
    return made, before, np.asarray(width)


def test_a_face_that_stays_has_no_strip(head_model: FaceMeshModel, fitted: FittedFace) -> None:
    still = face(fitted, 0)
    made, _, width = strip(head_model, still, still)
    assert width.max() < 1.5
    assert np.abs(made.border_shift).max() < 1.5


def test_the_mesh_gives_way_at_its_border_and_not_in_its_middle(
    head_model: FaceMeshModel,
) -> None:
    shares = border_shares(head_model.mean)
    assert shares.shape == (len(head_model.mean), len(BORDER))
    np.testing.assert_allclose(shares[BORDER], np.eye(len(BORDER)), atol=0.02)
    nose, mouth = 4, 13
    assert shares[[nose, mouth]].max() == 0
    assert (shares.sum(1) <= 1 + 1e-6).all()


@pytest.mark.parametrize("yaw", [-25.0, 25.0])
def test_a_turned_face_shows_the_side_that_came_into_view(
    head_model: FaceMeshModel, fitted: FittedFace, yaw: float
) -> None:
    made, before, width = strip(head_model, face(fitted, 0), face(fitted, yaw))
    revealed, hidden = (BORDER.index(jaw) for jaw in (JAWS if yaw < 0 else JAWS[::-1]))
    turned = float(side_depths(head_model.mean)[revealed]) * np.sin(np.radians(25)) * 60
    assert width[revealed] == pytest.approx(turned, rel=0.35)
    assert width[hidden] < 1
    outward = made.shown[revealed, 0] - 128
    assert np.sign(outward) == (-1 if yaw < 0 else 1)
    assert abs(made.read[revealed, 0] - 128) < abs(before[BORDER[revealed], 0] - 128)


def test_sides_reach_back_alike_below_the_temples(head_model: FaceMeshModel) -> None:
    depths = side_depths(head_model.mean)
    forehead, cheek, jaw, chin = (depths[BORDER.index(n)] for n in (10, 361, 397, 152))
    assert forehead == 0
    assert cheek == pytest.approx(0.2, abs=0.05)
    assert jaw == chin == pytest.approx(0.2)


def test_nothing_is_continued_above_the_temples(
    head_model: FaceMeshModel, fitted: FittedFace
) -> None:
    _, _, width = strip(head_model, face(fitted, 0), face(fitted, 25))
    assert width[BORDER.index(10)] < 0.5


def test_a_side_the_portrait_shows_is_read_from_its_surroundings(
    head_model: FaceMeshModel, fitted: FittedFace
) -> None:
    _, _, width = strip(head_model, face(fitted, 25), face(fitted, 20))
    assert width.max() < 2


def test_the_strip_s_triangles_join_the_border_to_its_outer_points() -> None:
    triangles = side_triangles(478)
    assert triangles.shape == (72, 3)
    assert {*triangles.ravel()} == {*BORDER, *range(478, 478 + 36)}
