"""Another light around the face: the ball's and the chest's normals, and what they change."""

import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.arrays import Lighting
from difffae.face.facemesh import FaceMeshModel
from difffae.face.head_light import CHANGE_RANGE, head_relight, light_change, normals_around
from difffae.face.lamp import Lamp, add_lamp
from difffae.face.lighting import uniform_lighting
from difffae.face.parameters import FaceParameters
from difffae.face.renderer import Renderer
from difffae.face.source_face import SourceFace
from difffae.face.surroundings import SurroundingsConfig

SIZE = 256
BALL = SurroundingsConfig()


@pytest.fixture
def face(source_face: SourceFace) -> FaceParameters:
    return source_face.fitted.parameters


def lit_from(azimuth_deg: float) -> tuple[Lighting, Lighting]:
    before = uniform_lighting()
    return before, add_lamp(before, Lamp(azimuth_deg=azimuth_deg, strength=0.9, ambient=0.3))


def places(face: FaceParameters, *at: tuple[float, float]) -> NDArray[np.float32]:
    """Places in head units from the face's centre, in pixels."""
    return (face.translation + np.array(at, np.float32) * face.scale).astype(np.float32)


def test_normals_look_at_the_viewer_in_the_middle_and_aside_at_the_rims(
    face: FaceParameters,
) -> None:
    wanted = places(face, (0, 0), (-1.4, -0.3), (1.4, -0.3))
    middle, left, right = normals_around(wanted, face, BALL)
    assert middle[2] < -0.9
    assert left[0] < -0.8
    assert right[0] > 0.8


def test_normals_are_of_unit_length_everywhere(face: FaceParameters) -> None:
    grid = np.stack(np.meshgrid(np.arange(0, SIZE, 7), np.arange(0, SIZE, 7)), -1).reshape(-1, 2)
    found = normals_around(grid.astype(np.float32), face, BALL)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)


def test_the_body_looks_at_the_viewer_where_the_ball_would_look_down(face: FaceParameters) -> None:
    (body,) = normals_around(places(face, (0, 3)), face, BALL)
    assert body[2] < -0.9
    assert body[1] < 0


def test_a_lamp_brightens_its_own_side_of_the_head_and_darkens_the_other(
    face: FaceParameters,
) -> None:
    change = head_relight(face, BALL, lit_from(90), SIZE)
    at = np.clip(np.rint(places(face, (-1.3, -0.6), (1.3, -0.6))), 0, SIZE - 1).astype(int)
    left, right = (change[row, column].mean() for column, row in at)
    assert right > 1.1
    assert left < 0.9


def test_the_same_light_changes_nothing(face: FaceParameters) -> None:
    light = uniform_lighting()
    np.testing.assert_allclose(head_relight(face, BALL, (light, light.copy()), SIZE), 1, atol=1e-5)


def test_the_change_keeps_within_its_range(face: FaceParameters) -> None:
    grid = np.random.default_rng(0).uniform(0, SIZE, (500, 2)).astype(np.float32)
    lights = (uniform_lighting() * np.float32(0.2), uniform_lighting() * np.float32(3))
    change = light_change(normals_around(grid, face, BALL), lights)
    assert change.max() == pytest.approx(CHANGE_RANGE[1])


def test_another_light_makes_no_step_at_the_border_of_the_face(
    head_model: FaceMeshModel, source_face: SourceFace
) -> None:
    lights = (source_face.appearance.lighting, lit_from(-60)[1])
    warp = Renderer(head_model, BALL, SIZE).warp(
        source_face.fitted, source_face.layers, source_face.fitted.parameters, lights
    )
    assert warp.head_relight is not None
    border = (warp.face_weight > 0.05) & (warp.face_weight < 0.95)
    assert np.median(np.abs(warp.relight - warp.head_relight)[border]) < 0.08
    assert warp.head_relight.std() > 0.1


def test_without_another_light_there_is_nothing_to_multiply(
    head_model: FaceMeshModel, source_face: SourceFace
) -> None:
    light = source_face.appearance.lighting
    warp = Renderer(head_model, BALL, SIZE).warp(
        source_face.fitted, source_face.layers, source_face.fitted.parameters, (light, light)
    )
    assert warp.head_relight is None
