"""The optional rasterizer: against ours where it is installed, else by its documented interface."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from difffae.arrays import Points3, Triangles
from difffae.face.pytorch3d import RasterizerUnavailableError, rasterize_pytorch3d
from difffae.face.rasterizer import rasterize

SIZE = 24
PADDING = -1  # pytorch3d's mark of nothing, in all of its outputs
AREA_EPSILON = 1e-8


class DocumentedMeshes:
    """`pytorch3d.structures.Meshes`, as far as its documentation says and one mesh needs."""

    def __init__(self, verts: list[Tensor], faces: list[Tensor]) -> None:
        assert [verts[0].dtype, faces[0].dtype] == [torch.float32, torch.int64]
        self.corners = verts[0].double().numpy()[faces[0].numpy()]


def documented_rasterize_meshes(
    meshes: DocumentedMeshes,
    image_size: int | tuple[int, int] = 256,
    blur_radius: float = 0.0,
    faces_per_pixel: int = 8,
    bin_size: int | None = None,
    max_faces_per_bin: int | None = None,
    perspective_correct: bool = False,
    clip_barycentric_coords: bool = False,
    cull_backfaces: bool = False,
    z_clip_value: float | None = None,
    cull_to_frustum: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `rasterize_meshes` is documented to do with these arguments, pixel by pixel.

    x is left and y is up, both 1 at the border; z of corners must lie in front of the camera; a
    pixel is covered where all weights are positive or its squared distance is below the blur.
    """
    assert isinstance(image_size, int)
    assert not any((perspective_correct, clip_barycentric_coords, cull_backfaces, cull_to_frustum))
    assert bin_size == 0  # what the CPU has
    assert (faces_per_pixel, max_faces_per_bin, z_clip_value) == (1, None, None)
    shape = (1, image_size, image_size, 1)
    faces = torch.full(shape, PADDING, dtype=torch.int64)
    depth, distance = torch.full(shape, float(PADDING)), torch.full(shape, float(PADDING))
    weights = torch.full((*shape, 3), float(PADDING))
    for row, column in np.ndindex(image_size, image_size):
        x, y = (1 - (2 * each + 1) / image_size for each in (column, row))
        found = [
            (float(w @ corners[:, 2]), face, w)
            for face, corners in enumerate(meshes.corners)
            if (w := covering_weights(corners, np.array([x, y]), blur_radius)) is not None
        ]
        if found:
            z, face, w = min(found, key=lambda each: each[:2])
            faces[0, row, column, 0], depth[0, row, column, 0] = face, z
            weights[0, row, column, 0] = torch.from_numpy(w)
    return faces, depth, weights, distance


def covering_weights(corners: Any, at: Any, blur_radius: float) -> Any:
    """Weights of a triangle's corners at a point that it covers; None where it does not."""
    a, b, c = corners[:, :2]
    area = cross(c - a, b - a)
    margin = blur_radius**0.5
    outside = (at < corners[:, :2].min(0) - margin) | (at > corners[:, :2].max(0) + margin)
    if area == 0 or corners[:, 2].min() < AREA_EPSILON or outside.any():
        return None
    weights = np.array([cross(at - b, c - b), cross(at - c, a - c), cross(at - a, b - a)])
    weights = weights / (area + AREA_EPSILON)
    if (weights > 0).all():
        return weights
    nearest = min(squared_distance(at, *edge) for edge in ((a, b), (b, c), (c, a)))
    return weights if nearest < blur_radius else None


def cross(first: Any, second: Any) -> float:
    """z of the product of two vectors of the plane."""
    return float(first[0] * second[1] - first[1] * second[0])


def squared_distance(at: Any, start: Any, end: Any) -> float:
    """From a point to a line segment."""
    along = end - start
    share = np.clip((at - start) @ along / max(along @ along, 1e-30), 0, 1)
    return float(((start + share * along - at) ** 2).sum())


@pytest.fixture
def documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs the documented interface in place of pytorch3d."""
    names = ("pytorch3d", "pytorch3d.renderer", "pytorch3d.renderer.mesh", "pytorch3d.structures")
    for name in (*names, "pytorch3d.renderer.mesh.rasterize_meshes"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    structures: Any = sys.modules["pytorch3d.structures"]
    structures.Meshes = DocumentedMeshes
    rasterizer: Any = sys.modules["pytorch3d.renderer.mesh.rasterize_meshes"]
    rasterizer.rasterize_meshes = documented_rasterize_meshes


def soup(seed: int) -> tuple[Points3, Triangles]:
    """Triangles of any size, partly outside, some without area, depths on both sides of 0."""
    random = np.random.default_rng(seed)
    points = random.uniform(-6, SIZE + 6, (18, 3)).astype(np.float32)
    points[:, 2] -= SIZE / 2
    return points, random.integers(0, 18, (10, 3)).astype(np.int32)


def sheet() -> tuple[Points3, Triangles]:
    """Triangles whose corners and many of whose edges lie on pixel centres."""
    steps = np.arange(4.5, SIZE - 3, 4)
    x, y = np.meshgrid(steps, steps)
    points = np.stack([x, y, np.sin(x) + np.cos(2 * y)], -1).reshape(-1, 3).astype(np.float32)
    n = len(steps)
    quads = [row * n + column for row in range(n - 1) for column in range(n - 1)]
    triangles = [(q, q + 1, q + n + 1) for q in quads] + [(q, q + n + 1, q + n) for q in quads]
    return points, np.array(triangles, np.int32)


def assert_equals_ours(points: Points3, triangles: Triangles) -> None:
    theirs, ours = rasterize_pytorch3d(points, triangles, SIZE), rasterize(points, triangles, SIZE)
    covered = ours.pix_to_face >= 0
    assert 0.1 < covered.mean() < 1
    both = covered & (theirs.pix_to_face >= 0)
    assert (both != (covered | (theirs.pix_to_face >= 0))).sum() <= 1  # as near to an edge as 1e-4
    np.testing.assert_allclose(theirs.depth[both], ours.depth[both], rtol=1e-4, atol=1e-3)
    assert np.isinf(theirs.depth[theirs.pix_to_face < 0]).all()
    same = covered & (theirs.pix_to_face == ours.pix_to_face)
    assert same.sum() > 0.7 * covered.sum()  # on an edge either of two triangles will do
    np.testing.assert_allclose(theirs.barycentric[same], ours.barycentric[same], atol=1e-4)
    assert (theirs.barycentric[~covered] == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_by_the_documented_interface_it_does_as_ours_does(documented: None, seed: int) -> None:
    assert_equals_ours(*soup(seed))


def test_by_the_documented_interface_pixels_on_shared_edges_are_no_holes(documented: None) -> None:
    assert_equals_ours(*sheet())


def test_weights_of_the_smallest_triangles_still_sum_to_one(documented: None) -> None:
    points = np.array([(5.49, 5.49, 0), (5.53, 5.49, 0), (5.5, 5.53, 9)], np.float32)
    fragments = rasterize_pytorch3d(points, np.array([(0, 1, 2)], np.int32), SIZE)
    assert (fragments.pix_to_face >= 0).sum() == 1
    assert fragments.barycentric[5, 5].sum() == pytest.approx(1, abs=1e-6)
    assert fragments.depth[5, 5] == pytest.approx(9 * fragments.barycentric[5, 5, 2], abs=1e-3)


def test_where_it_is_installed_it_does_as_ours_does() -> None:
    pytest.importorskip("pytorch3d", reason="pytorch3d is not installed")
    for seed in range(4):
        assert_equals_ours(*soup(seed))
    assert_equals_ours(*sheet())


def test_where_it_is_not_installed_the_error_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch3d.renderer.mesh.rasterize_meshes", None)
    with pytest.raises(RasterizerUnavailableError, match="rasterizer: numba"):
        rasterize_pytorch3d(*soup(0), SIZE)
