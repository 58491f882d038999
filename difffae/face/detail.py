"""Fine geometry in texture space: a displaced surface's normals, and the texture they are lit to.

model.md 3.6: each texel's place on the coarse surface is moved along its normal; the moved texels
are a dense grid, whose normals replace the coarse ones on the face; light on these normals times
the albedo is the detailed texture.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numba
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Lighting, Normals, Points3, SquareF32, Triangles
from difffae.face.licensed import read_arrays, unusable
from difffae.face.lighting import basis
from difffae.face.rasterizer import interpolate, rasterize
from difffae.face.template import Template

UV_SIZE = 256  # texels a side
# DECA's dense grid leaves the border out: columns at each side, rows above and below.
_MARGIN_COLUMNS, _MARGIN_ROWS = 2, 5

_LARGEST_FIXED_M = 0.1  # the published one stays within 2 millimetres
_LEAST_NORMAL = 1e-6  # DECA divides a shorter sum of normals [m²] by this: it stays short

UvMap = Float32[NDArray[np.float32], "256 256 3"]


@dataclass(frozen=True, kw_only=True)
class DetailMaps:
    """What DECA's detail needs beside its networks.

    Attributes:
        mask: 1 at the texels of face and eyes, where detail shows.
        displacement: fixed part of the displacement [m].
    """

    mask: SquareF32
    displacement: SquareF32


class TextureSpace:
    """Where on the mesh each texel is; made once for a template."""

    def __init__(self, template: Template) -> None:
        self._faces = template.faces
        corners = np.empty((len(template.uv), 3), np.float32)
        corners[:, 0] = template.uv[:, 0] * UV_SIZE
        corners[:, 1] = (1 - template.uv[:, 1]) * UV_SIZE  # v points up, rows go down
        corners[:, 2] = 0
        self._fragments = rasterize(corners, template.uv_faces, UV_SIZE)

    def unwrap(self, values: Points3) -> UvMap:
        """Values of the vertices at each texel; 0 where the texture is not used."""
        return interpolate(self._fragments, self._faces, values)

    def detailed_normals(
        self, vertices: Points3, normals: Normals, displacement: SquareF32, maps: DetailMaps
    ) -> UvMap:
        """Normals of the displaced surface on the face, of the coarse one elsewhere.

        Args:
            vertices: of the coarse surface [m].
            normals: of the coarse surface, at its vertices.
            displacement: along these normals [m].
            maps: where it counts, and what is added to it.
        """
        places, coarse = self.unwrap(vertices), self.unwrap(normals)
        height = displacement * maps.mask + maps.displacement
        dense = np.zeros_like(coarse)
        _grid_normals(places + height[..., None] * coarse, dense)
        weight = maps.mask[..., None]
        return np.asarray(dense * weight + coarse * (1 - weight), np.float32)


def lit_texture(albedo: UvMap, normals: UvMap, lighting: Lighting) -> UvMap:
    """Albedo times the light on each texel's normal; not limited (model.md 3.4)."""
    shading = basis(normals.reshape(-1, 3)) @ lighting
    return np.asarray(albedo * shading.reshape(albedo.shape), np.float32)


def mesh_normals(vertices: Points3, triangles: Triangles) -> Normals:
    """Area-weighted unit normals at the vertices [m] of outward-wound triangles."""
    normals = np.zeros_like(vertices)
    _add_face_normals(np.ascontiguousarray(vertices), triangles, normals)
    length = np.sqrt(np.einsum("pi,pi->p", normals, normals))[:, None]
    return np.asarray(normals / np.maximum(length, _LEAST_NORMAL), np.float32)


def load_detail_maps(mask: Path, displacement: Path) -> DetailMaps:
    """Read uv_face_eye_mask.png and fixed_displacement_256.npy.

    Raises:
        LicensedFileError: one is missing or is not what it should be.
    """
    return DetailMaps(mask=_load_mask(mask), displacement=_load_displacement(displacement))


def _load_mask(path: Path) -> SquareF32:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if picture is None or picture.shape[0] != picture.shape[1]:
        why = "there is no picture" if picture is None else f"its shape is {picture.shape[:2]}"
        raise unusable("uv_mask", path, f"{why}, expected a square one")
    size = (UV_SIZE, UV_SIZE)
    mask = cv2.resize(picture[..., 2], size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(mask / 255, np.float32)


def _load_displacement(path: Path) -> SquareF32:
    values = np.asarray(read_arrays("displacement", path)[1]["array"], np.float32)
    if not np.abs(values).max() < _LARGEST_FIXED_M:
        raise unusable("displacement", path, f"it reaches {np.abs(values).max()} metres")
    return values


@numba.njit(cache=True)
def _add_face_normals(vertices, triangles, normals):  # type: ignore[no-untyped-def]
    for face in range(triangles.shape[0]):
        i, j, k = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        a, b, c = vertices[i], vertices[j], vertices[k]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (i, j, k):
            normals[corner, 0] += x
            normals[corner, 1] += y
            normals[corner, 2] += z


@numba.njit(cache=True)
def _grid_normals(places, normals):  # type: ignore[no-untyped-def]
    """Unit normals of a grid of places whose rows run down; two triangles a cell."""
    height, width = places.shape[:2]
    for row in range(_MARGIN_ROWS, height - 1 - _MARGIN_ROWS):
        for column in range(_MARGIN_COLUMNS, width - 1 - _MARGIN_COLUMNS):
            for half in range(2):
                r0, c0 = row, column + half
                r1, c1 = row + 1, column
                r2, c2 = row + half, column + 1
                a, b, c = places[r0, c0], places[r1, c1], places[r2, c2]
                ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
                vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
                x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
                for r, k in ((r0, c0), (r1, c1), (r2, c2)):
                    normals[r, k, 0] += x
                    normals[r, k, 1] += y
                    normals[r, k, 2] += z
    for row in range(height):
        for column in range(width):
            n = normals[row, column]
            length = np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
            normals[row, column] = n / max(length, _LEAST_NORMAL)
