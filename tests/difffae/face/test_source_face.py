"""A portrait taken apart: fit, light and layers."""

import numpy as np
import pytest

from difffae.arrays import ImageU8, Lighting
from difffae.face.facemesh import NUM_MESH_POINTS, FaceMeshModel
from difffae.face.lighting import basis, shade, uniform_lighting
from difffae.face.normals import vertex_normals
from difffae.face.rasterizer import interpolate, rasterize
from difffae.face.source_face import SourceFace, build_source_face, portrait_lighting
from face_media import TrackedPortrait

SKIN = np.array([180.0, 140.0, 120.0], np.float32)


def lit_mesh(tracked: TrackedPortrait, model: FaceMeshModel, lighting: Lighting) -> ImageU8:
    """The tracked face painted in one colour and shaded by this light."""
    normals = vertex_normals(tracked.points, model.skin_triangles)
    fragments = rasterize(tracked.points, model.skin_triangles, 256)
    shaded = interpolate(fragments, model.skin_triangles, SKIN * shade(normals, lighting))
    return np.clip(np.rint(shaded), 0, 255).astype(np.uint8)


def side_light(x: float, y: float) -> Lighting:
    lighting = uniform_lighting()
    lighting[1] += np.float32(0.3 * x)
    lighting[2] += np.float32(0.3 * y)
    return lighting


@pytest.mark.parametrize("direction", [(1, 0), (-1, 0), (0, -1)])
def test_the_light_on_a_synthetically_lit_face_comes_back(
    tracked: TrackedPortrait, head_model: FaceMeshModel, direction: tuple[float, float]
) -> None:
    lighting = side_light(*direction)
    image = lit_mesh(tracked, head_model, lighting)
    normals = vertex_normals(tracked.points, head_model.skin_triangles)[:NUM_MESH_POINTS]
    normals = normals[normals[:, 2] < -0.3]
    found = basis(normals) @ portrait_lighting(image, tracked.points, head_model)
    true = basis(normals) @ lighting
    found, true = found / found.mean(0), true / true.mean(0)
    assert np.abs(found - true).mean() < 0.06
    assert np.corrcoef(found.ravel(), true.ravel())[0, 1] > 0.95


def test_a_real_portraits_light_is_gentle_and_of_mean_one(
    tracked: TrackedPortrait, head_model: FaceMeshModel
) -> None:
    normals = vertex_normals(tracked.points, head_model.skin_triangles)[:NUM_MESH_POINTS]
    facing = normals[normals[:, 2] < -0.35]
    shading = basis(facing) @ portrait_lighting(tracked.image, tracked.points, head_model)
    np.testing.assert_allclose(shading.mean(0), 1, atol=0.02)
    assert 0.4 < shading.min() < shading.max() < 1.8


def test_the_layers_are_the_crop_its_person_and_what_is_behind(
    tracked: TrackedPortrait, source_face: SourceFace
) -> None:
    layers = source_face.layers
    np.testing.assert_array_equal(layers.portrait, tracked.image)
    firm = np.clip((tracked.person - 0.05) / 0.4, 0, 1)
    np.testing.assert_allclose(layers.person, firm, rtol=0, atol=1e-6)
    is_far = tracked.person == 0
    is_far &= np.abs(layers.plate.astype(int) - tracked.image).max(-1) == 0
    assert is_far.mean() > 0.1
    middle = tuple(np.rint(tracked.points[1, :2]).astype(int)[::-1])
    assert np.abs(layers.plate[middle].astype(int) - tracked.image[middle]).max() > 20


def test_the_skins_colour_is_that_of_the_cheeks(
    tracked: TrackedPortrait, source_face: SourceFace
) -> None:
    columns, rows = np.rint(tracked.points[[50, 280], :2]).astype(int).T
    cheeks = tracked.image[rows, columns].astype(float).mean(0)
    np.testing.assert_allclose(source_face.layers.skin_colour, cheeks, rtol=0.2)


def test_the_face_is_fitted_to_the_points(
    tracked: TrackedPortrait, source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    fitted = source_face.fitted
    again = head_model.pose(fitted.parameters, fitted.residual)
    np.testing.assert_allclose(again[:, :2], tracked.points[:, :2], atol=0.02)


def test_a_known_fit_is_kept(
    tracked: TrackedPortrait, source_face: SourceFace, head_model: FaceMeshModel
) -> None:
    again = build_source_face(
        tracked.image, tracked.points, tracked.person, head_model, source_face.fitted
    )
    assert again.fitted is source_face.fitted


@pytest.mark.parametrize("side", ["left", "top"])
def test_the_light_of_a_face_does_not_depend_on_where_in_the_picture_it_is(
    tracked: TrackedPortrait, head_model: FaceMeshModel, side: str
) -> None:
    """A driver's frame is wider than high, or a phone's higher than wide."""
    image = lit_mesh(tracked, head_model, side_light(1, 0))
    expected = portrait_lighting(image, tracked.points, head_model)
    margins = ((0, 0), (300, 0), (0, 0)) if side == "left" else ((300, 0), (0, 0), (0, 0))
    shift = np.float32([300, 0, 0] if side == "left" else [0, 300, 0])
    found = portrait_lighting(np.pad(image, margins), tracked.points + shift, head_model)
    np.testing.assert_allclose(found, expected, atol=1e-3)
