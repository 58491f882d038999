import numpy as np
import pytest

from difffae.arrays import ImageU8, Points3
from difffae.face.lighting import uniform_lighting
from difffae.face.mediapipe import triangles
from difffae.face.normals import vertex_normals
from difffae.metrics.relighting import KNOWN_LIGHTS, lit_face, outward, relight

LEFT_CHEEK, RIGHT_CHEEK, FOREHEAD, CHIN, NOSE = 50, 280, 151, 199, 4


def brightness(image: ImageU8, before: ImageU8, points: Points3, index: int) -> float:
    """How much brighter the picture is around a mesh point."""
    x, y = np.rint(points[index, :2]).astype(int)
    area = slice(y - 2, y + 3), slice(x - 2, x + 3)
    return float(image[area].mean() / before[area].mean())


def test_uniform_light_changes_nothing(portrait: ImageU8, face_points: Points3) -> None:
    same = relight(portrait, face_points, uniform_lighting(), triangles())
    assert np.abs(same.astype(int) - portrait).max() <= 1


@pytest.mark.parametrize(
    ("side", "lit", "dark"),
    [
        ("from the left", LEFT_CHEEK, RIGHT_CHEEK),
        ("from the right", RIGHT_CHEEK, LEFT_CHEEK),
        ("from above", FOREHEAD, CHIN),
        ("from below", CHIN, FOREHEAD),
    ],
)
def test_each_known_light_brightens_its_side_and_darkens_the_other(
    portrait: ImageU8, face_points: Points3, side: str, lit: int, dark: int
) -> None:
    image = relight(portrait, face_points, KNOWN_LIGHTS[side], triangles())
    bright = brightness(image, portrait, face_points, lit)
    assert bright > brightness(image, portrait, face_points, dark) + 0.1
    assert 0.5 < bright < 1.6


def test_what_is_not_face_stays_as_it_was(portrait: ImageU8, face_points: Points3) -> None:
    image = relight(portrait, face_points, KNOWN_LIGHTS["from the left"], triangles())
    assert np.array_equal(image[:30, :60], portrait[:30, :60])
    assert not np.array_equal(image, portrait)


def test_normals_point_out_of_the_head_whatever_the_winding(face_points: Points3) -> None:
    mesh = face_points[:468]
    wound = outward(triangles(), mesh)
    assert np.array_equal(outward(wound[:, [0, 2, 1]], mesh), wound)
    normals = vertex_normals(mesh, wound)
    assert normals[NOSE, 2] < -0.7
    assert normals[LEFT_CHEEK, 0] < normals[RIGHT_CHEEK, 0]


def test_the_ratio_of_two_known_lights_gives_the_picture_back(
    portrait: ImageU8, face_points: Points3
) -> None:
    left = KNOWN_LIGHTS["from the left"]
    lit = relight(portrait, face_points, left, triangles())
    back = relight(lit, face_points, uniform_lighting(), triangles(), left)
    face = lit_face(face_points, triangles(), portrait.shape[0]) > 0
    unclipped = face & (lit < 255).all(-1)
    assert np.abs(back.astype(int) - portrait)[unclipped].mean() < 1
    assert np.abs(lit.astype(int) - portrait)[unclipped].mean() > 8


def test_the_face_lit_in_full_is_well_inside_the_mesh(
    portrait: ImageU8, face_points: Points3
) -> None:
    face = lit_face(face_points, triangles(), portrait.shape[0])
    at = np.rint(face_points[:, :2]).astype(int)
    assert set(np.unique(face)) == {0, 255}
    assert face[at[LEFT_CHEEK, 1], at[LEFT_CHEEK, 0]] == 255
    assert face[at[FOREHEAD, 1] - 60, at[FOREHEAD, 0]] == 0
    assert face[at[10, 1], at[10, 0]] == 0  # the border
