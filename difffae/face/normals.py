"""Normals of a mesh: points and triangles in, a unit vector a point out."""

import numba
import numpy as np

from difffae.arrays import Normals, Points3, Triangles


def vertex_normals(points: Points3, triangles: Triangles) -> Normals:
    """Area-weighted unit normals at the corners of outward-wound triangles."""
    normals = np.zeros(points.shape, np.float32)
    _add_normals(np.ascontiguousarray(points, np.float32), triangles, normals)
    return normals


@numba.njit(cache=True, nogil=True)
def _add_normals(points, triangles, normals):  # type: ignore[no-untyped-def]
    for face in range(triangles.shape[0]):
        a, b, c = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        ux, uy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        vx, vy = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1]
        uz, vz = points[b, 2] - points[a, 2], points[c, 2] - points[a, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += x
            normals[corner, 1] += y
            normals[corner, 2] += z
    for point in range(normals.shape[0]):
        x, y, z = normals[point, 0], normals[point, 1], normals[point, 2]
        length = max(np.sqrt(x * x + y * y + z * z), np.float32(1e-6))
        normals[point, 0], normals[point, 1], normals[point, 2] = x / length, y / length, z / length
