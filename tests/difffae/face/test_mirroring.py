"""What a turned portrait hides is read on the other side."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

import difffae.face.renderer as renderer_module
from difffae.arrays import ImageU8
from difffae.face.facemesh import EYE_RINGS, FACE_OVAL, FaceMeshModel
from difffae.face.layers import compose
from difffae.face.mirroring import (
    hidden,
    inset,
    mirror_shares,
    mirrored,
    symmetry,
    turned_back,
)
from difffae.face.normals import vertex_normals
from difffae.face.parameters import FaceParameters, axis_angle, matrix
from difffae.face.rasterizer import rasterize
from difffae.face.renderer import Renderer
from difffae.face.source_face import SourceFace, build_source_face
from difffae.face.surroundings import SurroundingsConfig
from difffae.face.warp import face_box
from face_media import TrackedPortrait
from plain_motion import face

SIZE = 256
NOSE, CHEEKS, EYES = 1, (50, 280), (159, 386)


def turned(head_model: FaceMeshModel, degrees: float) -> np.ndarray:
    """The mean face [px], turned about the vertical."""
    points = np.concatenate([head_model.mean, np.zeros((10, 3), np.float32)])
    turn = matrix(np.float32([0, np.radians(degrees), 0]))
    return np.asarray(points @ turn.T * 60 + 128, np.float32)


def hides(head_model: FaceMeshModel, degrees: float) -> np.ndarray:
    points, skin = turned(head_model, degrees), head_model.skin_triangles
    return hidden(points, vertex_normals(points, skin), 60.0, skin, rasterize)


def at(degrees: float) -> FaceParameters:
    return replace(face(128, 128, 60), rotation=np.float32([0, np.radians(degrees), 0]))


def test_points_that_mirror_one_another_do_so_in_turn(head_model: FaceMeshModel) -> None:
    found = symmetry(head_model.mean, head_model.skin_triangles).counterparts
    assert len(found) == 478
    np.testing.assert_array_equal(found[found], np.arange(478))
    assert [found[n] for n in (33, 133, 159, 61, 234, 468)] == [263, 362, 386, 291, 454, 473]
    for middle in (10, 152, NOSE, 13, 14):
        assert found[middle] == middle


def test_a_face_from_the_front_hides_nothing_of_its_middle(head_model: FaceMeshModel) -> None:
    front = hides(head_model, 0)
    assert front[[NOSE, *CHEEKS, *EYES]].max() == 0


@pytest.mark.parametrize("side", [0, 1])
def test_a_turned_face_hides_its_far_side(head_model: FaceMeshModel, side: int) -> None:
    degrees = (50, -50)[side]
    seen = hides(head_model, degrees)
    is_near = matrix(np.float32([0, np.radians(degrees), 0]))[0, 2] * (-1, 1)[side] < 0
    assert is_near
    near, far = CHEEKS[1 - side], CHEEKS[side]
    assert seen[near] == 0
    assert seen[far] > 0.5


def test_only_a_turned_portrait_that_turns_back_is_mirrored() -> None:
    assert turned_back(at(10), at(-20)) == 0
    assert turned_back(at(45), at(45)) == 0
    assert turned_back(at(45), at(60)) == 0
    assert turned_back(at(45), at(10)) == 1
    assert turned_back(at(-45), at(-10)) == 1
    assert 0 < turned_back(at(45), at(38)) < 1


def test_what_is_hidden_is_read_on_the_other_side_and_nothing_else_is(
    head_model: FaceMeshModel,
) -> None:
    symmetric = symmetry(head_model.mean, head_model.skin_triangles)
    normals = [vertex_normals(turned(head_model, d), head_model.skin_triangles) for d in (50, 0)]
    seen = hides(head_model, 50)
    shares = mirror_shares(seen, (normals[0], normals[1]), 1.0, symmetric)
    assert shares[CHEEKS[0]] > 0.9
    assert shares[CHEEKS[1]] == 0
    assert (shares[symmetric.counterparts[:468]] * shares).max() < 0.05
    half = mirror_shares(seen, (normals[0], normals[1]), 0.5, symmetric)
    np.testing.assert_allclose(half, shares / 2, atol=1e-6)


def test_by_the_far_outline_it_is_read_further_inside(head_model: FaceMeshModel) -> None:
    points = turned(head_model, 40)
    moved = inset(points, at(40), head_model.skin_triangles, rasterize)
    oval = list(FACE_OVAL)
    across = points[oval, 0] - points[oval, 0].mean()
    far, near = across.argmin(), across.argmax()
    assert moved[oval[far], 0] > 2
    np.testing.assert_allclose(moved[oval[near]], 0, atol=0.1)
    np.testing.assert_allclose(moved[CHEEKS[1]], 0, atol=0.1)


def test_the_mirror_image_of_a_pose_is_that_of_the_mirrored_picture() -> None:
    there = replace(face(100, 90, 60), rotation=np.float32([0.1, 0.5, -0.2]))
    back = mirrored(mirrored(there, SIZE), SIZE)
    np.testing.assert_allclose(back.rotation, there.rotation)
    np.testing.assert_allclose(back.translation, there.translation)
    flip = np.diag([-1.0, 1, 1])
    np.testing.assert_allclose(
        matrix(mirrored(there, SIZE).rotation), flip @ matrix(there.rotation) @ flip, atol=1e-6
    )
    assert mirrored(there, SIZE).translation[0] == SIZE - 100


@pytest.fixture(scope="module")
def half_profile(source_face: SourceFace, head_model: FaceMeshModel) -> SourceFace:
    """The portrait turned by 45 degrees, as a portrait of its own."""
    fitted, light = source_face.fitted, source_face.appearance.lighting
    turn = matrix(np.float32([0, np.radians(45), 0])) @ matrix(fitted.parameters.rotation)
    parameters = replace(fitted.parameters, rotation=axis_angle(turn))
    renderer = Renderer(head_model, SurroundingsConfig(), SIZE)
    shown = renderer.condition(fitted, source_face.layers, parameters, (light, light))
    return build_source_face(
        shown.composite,
        head_model.pose(parameters, fitted.residual),
        shown.person_mask,
        head_model,
        replace(fitted, parameters=parameters),
    )


def from_the_front(portrait: SourceFace, front: FaceParameters, model: FaceMeshModel) -> ImageU8:
    light = portrait.appearance.lighting
    renderer = Renderer(model, SurroundingsConfig(), SIZE)
    shown = renderer.condition(portrait.fitted, portrait.layers, front, (light, light))
    return shown.composite


def error_at(image: ImageU8, truth: ImageU8, points: np.ndarray) -> float:
    """On the eye that the half profile hides, and around it."""
    hull = cv2.convexHull(np.rint(points[:, :2]).astype(np.int32))
    mask = cv2.dilate(
        cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.uint8), hull, 1), np.ones((9, 9))
    )
    return float(np.abs(image.astype(float) - truth)[mask > 0].mean())


def test_a_half_profile_seen_from_the_front_has_two_like_eyes(
    half_profile: SourceFace,
    source_face: SourceFace,
    tracked: TrackedPortrait,
    head_model: FaceMeshModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    front = source_face.fitted.parameters
    eye = tracked.points[list(EYE_RINGS[0])]
    with_mirror = from_the_front(half_profile, front, head_model)
    monkeypatch.setattr(renderer_module, "turned_back", lambda *_: 0.0)
    without = from_the_front(half_profile, front, head_model)
    errors = [error_at(each, tracked.image, eye) for each in (with_mirror, without)]
    assert errors[0] < 0.8 * errors[1]


def test_the_mirror_image_is_the_same_at_another_size(
    half_profile: SourceFace, source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    light = half_profile.appearance.lighting
    renderer = Renderer(head_model, SurroundingsConfig(), SIZE)
    warp = renderer.warp(
        half_profile.fitted, half_profile.layers, source_face.fitted.parameters, (light, light)
    )
    assert warp.mirror_image is not None
    small = compose(half_profile.layers, warp)[0]
    layers = half_profile.layers
    doubled = replace(
        layers,
        portrait=cv2.resize(layers.portrait, None, fx=2, fy=2),
        person=cv2.resize(layers.person, None, fx=2, fy=2),
        plate=cv2.resize(layers.plate, None, fx=2, fy=2),
    )
    large = cv2.resize(compose(doubled, warp)[0], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    box = face_box(warp.face_weight, SIZE).slices
    assert np.abs(large.astype(float) - small)[box].mean() < 3
