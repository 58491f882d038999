"""A picture under a light that is known: shading by spherical harmonics, laid over a face.

A face's pixels are multiplied by the shading of a known light at the mesh's normals (mean about 1),
so that the change of light is known exactly: a synthetic ground truth for light transfer (model.md
5.3). The normals are those of the meter's own mesh.
"""

from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np

from difffae.arrays import ImageU8, Lighting, Points3, Triangles
from difffae.face.facemesh import NUM_MESH_POINTS
from difffae.face.lighting import shade, uniform_lighting
from difffae.face.normals import vertex_normals
from difffae.face.rasterizer import interpolate, rasterize

SIDE_STRENGTH = 0.45  # of the directional term: shading from about 0.55 to 1.45
FEATHER_PX = 3.0
_LEAST_WEIGHT = 1e-3


def _from_direction(x: float, y: float) -> Lighting:
    """Light whose shading grows along a direction in the picture, 1 on average."""
    lighting = uniform_lighting()
    lighting[1] = x * SIDE_STRENGTH / 1.023327
    lighting[2] = y * SIDE_STRENGTH / 1.023327
    return lighting


KNOWN_LIGHTS: Mapping[str, Lighting] = MappingProxyType(
    {
        "from the left": _from_direction(-1, 0),
        "from the right": _from_direction(1, 0),
        "from above": _from_direction(0, -1),
        "from below": _from_direction(0, 1),
    }
)


def outward(triangles: Triangles, points: Points3) -> Triangles:
    """The triangles, each wound so that its normal points out of the head."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    inside = np.array([*points[:, :2].mean(0), points[:, 2].max()], np.float32)
    is_outward = (((a + b + c) / 3 - inside) * np.cross(b - a, c - a)).sum(-1, keepdims=True) > 0
    return np.where(is_outward, triangles, triangles[:, [0, 2, 1]]).astype(np.int32)


def relight(image: ImageU8, points: Points3, light: Lighting, triangles: Triangles) -> ImageU8:
    """The picture with the face's pixels multiplied by a light's shading.

    Args:
        image: the picture, square.
        points: the face's mesh points in it [px].
        light: the known light; a uniform one changes nothing.
        triangles: the mesh's, of any winding.
    """
    mesh = points[:NUM_MESH_POINTS]
    normals = vertex_normals(mesh, outward(triangles, mesh))
    shading = shade(normals, light)
    fragments = rasterize(mesh, triangles, image.shape[0])
    covered = (fragments.pix_to_face >= 0).astype(np.float32)
    inside = interpolate(fragments, triangles, shading)
    near = cv2.GaussianBlur(covered, (0, 0), FEATHER_PX)[..., None]
    around = cv2.GaussianBlur(inside, (0, 0), FEATHER_PX) / np.maximum(near, _LEAST_WEIGHT)
    factor = np.where(covered[..., None] > 0, inside, around)  # eyes and mouth are not in the mesh
    lit = image * (1 + np.clip(2 * near - 1, 0, 1) * (factor - 1))
    return np.asarray(np.clip(np.rint(lit), 0, 255), np.uint8)
