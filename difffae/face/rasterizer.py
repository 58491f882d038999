"""Triangles to pixels: a z-buffer in numba, with the fragments contract of pytorch3d."""

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Float32, Int32
from numpy.typing import NDArray

from difffae.arrays import Points3, Triangles

EMPTY = -1  # pix_to_face where no triangle is
_DEGENERATE = 1e-6  # twice the area [px²] under which a triangle is skipped


@dataclass(frozen=True, kw_only=True)
class Fragments:
    """What covers each pixel centre.

    Attributes:
        pix_to_face: index of the nearest triangle, EMPTY where there is none.
        barycentric: weights of its three corners, 0 where there is none.
        depth: z of the surface there, infinite where there is none.
    """

    pix_to_face: Int32[NDArray[np.int32], "h w"]
    barycentric: Float32[NDArray[np.float32], "h w 3"]
    depth: Float32[NDArray[np.float32], "h w"]

    def part(self, where: tuple[slice, slice]) -> "Fragments":
        """The same of some rows and columns."""
        return Fragments(
            pix_to_face=self.pix_to_face[where],
            barycentric=self.barycentric[where],
            depth=self.depth[where],
        )


Rasterize = Callable[[Points3, Triangles, int], Fragments]
"""Corners [px], triangles and the picture's side -> what covers each pixel."""


def rasterize(points: Points3, triangles: Triangles, size: int) -> Fragments:
    """Find the nearest triangle at each pixel of a square picture.

    Args:
        points: corners [px]; the centre of the top left pixel is (0.5, 0.5); smaller z is nearer.
        triangles: three corner indices each, of any winding.
        size: side of the picture [px].
    """
    pix_to_face = np.full((size, size), EMPTY, np.int32)
    barycentric = np.zeros((size, size, 3), np.float32)
    depth = np.full((size, size), np.inf, np.float32)
    _fill(np.ascontiguousarray(points, np.float32), triangles, pix_to_face, barycentric, depth)
    return Fragments(pix_to_face=pix_to_face, barycentric=barycentric, depth=depth)


def interpolate(
    fragments: Fragments,
    triangles: Triangles,
    values: Float32[NDArray[np.float32], "p n"],
    *,
    empty: float = 0,
) -> Float32[NDArray[np.float32], "h w n"]:
    """Values given at the corners, at each pixel; `empty` where there is no triangle."""
    height, width = fragments.pix_to_face.shape
    out = np.full((height, width, values.shape[1]), empty, np.float32)
    _interpolate(
        fragments.pix_to_face,
        fragments.barycentric,
        triangles,
        np.ascontiguousarray(values, np.float32),
        out,
    )
    return out


@numba.njit(cache=True, nogil=True)
def _fill(points, triangles, pix_to_face, barycentric, depth):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    for face in range(triangles.shape[0]):
        a, b, c = points[triangles[face, 0]], points[triangles[face, 1]], points[triangles[face, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < _DEGENERATE:
            continue
        left = max(int(np.floor(min(a[0], b[0], c[0]) - 0.5)), 0)
        right = min(int(np.ceil(max(a[0], b[0], c[0]) + 0.5)), width)
        top = max(int(np.floor(min(a[1], b[1], c[1]) - 0.5)), 0)
        bottom = min(int(np.ceil(max(a[1], b[1], c[1]) + 0.5)), height)
        inverse = 1 / area
        v_across, v_down = (c[1] - a[1]) * inverse, (a[0] - c[0]) * inverse
        w_across, w_down = (a[1] - b[1]) * inverse, (b[0] - a[0]) * inverse
        for row in range(top, bottom):
            y = row + 0.5 - a[1]
            for column in range(left, right):
                x = column + 0.5 - a[0]
                v = x * v_across + y * v_down
                w = x * w_across + y * w_down
                u = 1 - v - w
                if u < -1e-5 or v < -1e-5 or w < -1e-5:
                    continue
                z = u * a[2] + v * b[2] + w * c[2]
                if z < depth[row, column]:
                    depth[row, column] = z
                    pix_to_face[row, column] = face
                    barycentric[row, column, 0] = u
                    barycentric[row, column, 1] = v
                    barycentric[row, column, 2] = w


@numba.njit(cache=True, nogil=True)
def _interpolate(pix_to_face, barycentric, triangles, values, out):  # type: ignore[no-untyped-def]
    height, width = pix_to_face.shape
    for row in range(height):
        for column in range(width):
            face = pix_to_face[row, column]
            if face < 0:
                continue
            a, b, c = triangles[face]
            u, v, w = barycentric[row, column]
            for n in range(values.shape[1]):
                out[row, column, n] = u * values[a, n] + v * values[b, n] + w * values[c, n]
