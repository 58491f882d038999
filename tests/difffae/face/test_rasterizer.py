"""The numba rasterizer against a slow plain one, and the geometry it must get right."""

import numpy as np
import pytest
from numpy.typing import NDArray

from difffae.arrays import Points3, Triangles
from difffae.face.rasterizer import EMPTY, Fragments, interpolate, rasterize

SIZE = 40
INSIDE = -1e-5  # smallest weight of a pixel that still counts as covered


def plain_depths(points: Points3, triangles: Triangles, size: int) -> NDArray[np.float64]:
    """Depth of every triangle at every pixel centre, (triangles, h, w), infinite where it is not.

    Solves for the weights of the corners pixel by pixel: no boxes, no z-buffer, float64.
    """
    rows, columns = np.indices((size, size)) + 0.5
    at = np.stack([columns.ravel(), rows.ravel(), np.ones(size * size)])
    depths = np.full((len(triangles), size * size), np.inf)
    for number, corners in enumerate(triangles):
        a, b, c = points[corners].astype(np.float64)
        system = np.array([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [1, 1, 1]])
        if abs(np.linalg.det(system)) < 1e-6:
            continue
        weights = np.linalg.solve(system, at)
        is_covered = (weights >= INSIDE).all(0)
        depths[number, is_covered] = (np.array([a[2], b[2], c[2]]) @ weights)[is_covered]
    return depths.reshape(-1, size, size)


def assert_equals_plain(fragments: Fragments, points: Points3, triangles: Triangles) -> None:
    depths = plain_depths(points, triangles, SIZE)
    nearest = depths.min(0)
    np.testing.assert_allclose(fragments.depth, nearest, rtol=1e-4, atol=1e-4)
    is_covered = np.isfinite(nearest)
    np.testing.assert_array_equal(fragments.pix_to_face == EMPTY, ~is_covered)
    rows, columns = np.nonzero(is_covered)
    chosen = depths[fragments.pix_to_face[rows, columns], rows, columns]
    np.testing.assert_allclose(chosen, nearest[rows, columns], rtol=1e-4, atol=1e-4)
    gap = np.zeros_like(nearest)
    np.subtract(np.sort(depths, 0)[1], nearest, where=is_covered, out=gap)
    is_clear = gap > 1e-3
    np.testing.assert_array_equal(fragments.pix_to_face[is_clear], depths.argmin(0)[is_clear])


def eighths(random: np.random.Generator, low: int, high: int, shape: tuple[int, ...]) -> Points3:
    """Random coordinates in eighths of a pixel: exact in float32, often on edges and centres."""
    return (random.integers(8 * low, 8 * high, shape) / 8).astype(np.float32)


def grid_mesh() -> tuple[Points3, Triangles]:
    """A bumpy square sheet over pixels 4 to 36 whose corners lie on pixel centres."""
    steps = np.arange(0, 33, 4) + 4.5
    x, y = np.meshgrid(steps, steps)
    z = np.sin(x) + np.cos(2 * y)
    points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
    quads = [row * 9 + column for row in range(8) for column in range(8)]
    triangles = [(q, q + 1, q + 10) for q in quads] + [(q, q + 10, q + 9) for q in quads]
    return points, np.array(triangles, np.int32)


@pytest.mark.parametrize("seed", range(6))
def test_random_triangles_are_filled_as_a_plain_rasterizer_fills_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    points = eighths(random, -12, SIZE + 12, (24, 3))
    triangles = random.integers(0, 24, (18, 3)).astype(np.int32)  # some degenerate
    assert_equals_plain(rasterize(points, triangles, SIZE), points, triangles)


@pytest.mark.parametrize("seed", range(3))
def test_many_small_triangles_are_filled_as_a_plain_rasterizer_fills_them(seed: int) -> None:
    random = np.random.default_rng(100 + seed)
    centres = random.uniform(-3, SIZE + 3, (400, 1, 3))
    points = (centres + random.normal(0, 2, (400, 3, 3))).reshape(-1, 3).astype(np.float32)
    triangles = np.arange(1200, dtype=np.int32).reshape(-1, 3)
    fragments, depths = rasterize(points, triangles, SIZE), plain_depths(points, triangles, SIZE)
    assert (fragments.pix_to_face >= 0).mean() > 0.4
    nearest, chosen = depths.argmin(0), fragments.pix_to_face
    # A corner weight within the tolerance of an edge may fall to either side in float32.
    is_same = np.where(np.isfinite(depths.min(0)), nearest, EMPTY) == chosen
    assert is_same.mean() > 0.998
    rows, columns = np.nonzero(is_same & (chosen >= 0))
    expected = depths[nearest[rows, columns], rows, columns]
    np.testing.assert_allclose(fragments.depth[rows, columns], expected, rtol=1e-3, atol=1e-3)


def test_of_triangles_at_the_same_depth_the_first_is_shown() -> None:
    random = np.random.default_rng(2)
    points = eighths(random, 0, SIZE, (30, 3))
    points[:, 2] = 0
    triangles = np.arange(30, dtype=np.int32).reshape(-1, 3)
    twice = np.concatenate([triangles, triangles[::-1]])
    fragments = rasterize(points, twice, SIZE)
    is_covered = np.isfinite(plain_depths(points, triangles, SIZE))
    first = np.where(is_covered.any(0), is_covered.argmax(0), EMPTY)
    assert len(np.unique(first)) > 5
    np.testing.assert_array_equal(fragments.pix_to_face, first)


def test_triangles_that_share_edges_are_filled_as_a_plain_rasterizer_fills_them() -> None:
    points, triangles = grid_mesh()
    assert_equals_plain(rasterize(points, triangles, SIZE), points, triangles)


def test_a_sheet_of_triangles_has_no_holes_and_nothing_beside_it() -> None:
    points, triangles = grid_mesh()
    is_covered = rasterize(points, triangles, SIZE).pix_to_face >= 0
    expected = np.zeros((SIZE, SIZE), bool)
    expected[4:37, 4:37] = True
    np.testing.assert_array_equal(is_covered, expected)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_triangle_hides_the_farther_in_any_order(order: tuple[int, int]) -> None:
    near = [(5, 5, 1), (30, 5, 1), (5, 30, 1)]
    far = [(0, 0, 9), (38, 0, 9), (0, 38, 9)]
    points = np.array(near + far, np.float32)
    triangles = np.array([(0, 1, 2), (3, 4, 5)], np.int32)[list(order)]
    fragments = rasterize(points, triangles, SIZE)
    assert fragments.pix_to_face[10, 10] == order.index(0)
    assert fragments.depth[10, 10] == pytest.approx(1)
    assert fragments.pix_to_face[2, 2] == order.index(1)
    assert fragments.depth[2, 2] == pytest.approx(9)


def test_triangles_that_cross_each_win_where_they_are_nearer() -> None:
    points = np.array(
        [(0, 0, 0), (40, 0, 40), (0, 40, 0), (40, 40, 40), (0, 0, 20), (40, 0, 20), (0, 40, 20)],
        np.float32,
    )
    triangles = np.array([(0, 1, 2), (4, 5, 6)], np.int32)
    fragments = rasterize(points, triangles, SIZE)
    assert fragments.pix_to_face[5, 10] == 0
    assert fragments.pix_to_face[5, 30] == 1


def test_winding_does_not_matter() -> None:
    points = np.array([(3, 4, 1), (30, 9, 2), (12, 35, 3)], np.float32)
    one = rasterize(points, np.array([(0, 1, 2)], np.int32), SIZE)
    other = rasterize(points, np.array([(0, 2, 1)], np.int32), SIZE)
    np.testing.assert_array_equal(one.pix_to_face, other.pix_to_face)
    np.testing.assert_allclose(one.barycentric, other.barycentric[..., [0, 2, 1]], atol=1e-6)


def test_triangles_without_area_or_outside_the_picture_leave_it_empty() -> None:
    points = np.array(
        [(5, 5, 0), (20, 20, 0), (35, 35, 0), (-30, 5, 0), (-2, 9, 0), (-9, 30, 0), (99, 50, 0)],
        np.float32,
    )
    triangles = np.array([(0, 1, 2), (0, 0, 1), (3, 4, 5), (6, 6, 6)], np.int32)
    fragments = rasterize(points, triangles, SIZE)
    assert (fragments.pix_to_face == EMPTY).all()
    assert (fragments.barycentric == 0).all()
    assert np.isinf(fragments.depth).all()


def test_a_triangle_over_the_border_is_cut_there() -> None:
    points = np.array([(-20, -10, 0), (70, 15, 0), (10, 90, 0)], np.float32)
    triangle = np.array([(0, 1, 2)], np.int32)
    whole = rasterize(points + np.array([24, 16, 0], np.float32), triangle, 128)
    cut = rasterize(points, triangle, SIZE)
    expected = whole.pix_to_face[16 : 16 + SIZE, 24 : 24 + SIZE]
    np.testing.assert_array_equal(cut.pix_to_face, expected)


def test_weights_of_a_pixel_sum_to_one_and_give_its_centre() -> None:
    points, triangles = grid_mesh()
    fragments = rasterize(points, triangles, SIZE)
    is_covered = fragments.pix_to_face >= 0
    np.testing.assert_allclose(fragments.barycentric.sum(-1)[is_covered], 1, atol=1e-5)
    corners = points[triangles[fragments.pix_to_face]][..., :2]
    centres = np.einsum("hwk,hwkx->hwx", fragments.barycentric, corners)
    rows, columns = np.indices((SIZE, SIZE)) + 0.5
    np.testing.assert_allclose(centres[is_covered, 0], columns[is_covered], atol=1e-3)
    np.testing.assert_allclose(centres[is_covered, 1], rows[is_covered], atol=1e-3)


def test_interpolation_reproduces_linear_functions() -> None:
    points, triangles = grid_mesh()
    slopes = np.array([(2.0, -1.0), (0.25, 3.0), (0.0, 0.0)])
    values = (points[:, :2] @ slopes.T + np.array([1.0, -5.0, 7.0])).astype(np.float32)
    fragments = rasterize(points, triangles, SIZE)
    shown = interpolate(fragments, triangles, values)
    rows, columns = np.indices((SIZE, SIZE)) + 0.5
    at = np.stack([columns, rows], -1)
    expected = at @ slopes.T + np.array([1.0, -5.0, 7.0])
    is_covered = fragments.pix_to_face >= 0
    np.testing.assert_allclose(shown[is_covered], expected[is_covered], atol=2e-3)
    assert (shown[~is_covered] == 0).all()
