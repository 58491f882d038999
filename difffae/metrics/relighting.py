"""A picture under a light that is known: shading by spherical harmonics, laid over a face.

A face's pixels are multiplied by the shading of a known light at the mesh's normals (mean about 1),
so that the change of light is known exactly: a synthetic ground truth for light transfer (model.md
5.3). The normals are those of the meter's own mesh.
"""

from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Lighting, MaskF32, MaskU8, Points3, Triangles
from difffae.face.facemesh import NUM_MESH_POINTS
from difffae.face.lighting import shade, uniform_lighting
from difffae.face.normals import vertex_normals
from difffae.face.rasterizer import Fragments, interpolate, rasterize

SIDE_STRENGTH = 0.45  # of the directional term: shading from about 0.55 to 1.45
FEATHER_PX = 3.0
_LEAST_WEIGHT = 1e-3
_IN_FULL = 0.9


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


def relight(
    image: ImageU8,
    points: Points3,
    light: Lighting,
    triangles: Triangles,
    before: Lighting | None = None,
) -> ImageU8:
    """The picture with the face's pixels multiplied by a light's shading.

    Args:
        image: the picture, square.
        points: the face's mesh points in it [px].
        light: the known light; a uniform one changes nothing.
        triangles: the mesh's, of any winding.
        before: the picture's own light, whose shading is divided by: the plain shading ratio;
            None: a uniform one.
    """
    mesh = points[:NUM_MESH_POINTS]
    normals = vertex_normals(mesh, outward(triangles, mesh))
    shading = shade(normals, light)
    if before is not None:
        shading = shading / shade(normals, before)
    fragments = rasterize(mesh, triangles, image.shape[0])
    covered, near = _covered(fragments)
    inside = interpolate(fragments, triangles, shading)
    around = cv2.GaussianBlur(inside, (0, 0), FEATHER_PX)
    around = around / np.maximum(near, _LEAST_WEIGHT)[..., None]
    factor = np.where(covered[..., None], inside, around)  # eyes and mouth are not in the mesh
    lit = image * (1 + _weight(near)[..., None] * (factor - 1))
    return np.asarray(np.clip(np.rint(lit), 0, 255), np.uint8)


def lit_face(points: Points3, triangles: Triangles, size: int) -> MaskU8:
    """255 where `relight` changes the light in full, to within a tenth, else 0."""
    _, near = _covered(rasterize(points[:NUM_MESH_POINTS], triangles, size))
    return np.where(_weight(near) > _IN_FULL, 255, 0).astype(np.uint8)


def _covered(fragments: Fragments) -> tuple[NDArray[np.bool_], MaskF32]:
    """Where the mesh is, and the share of it around every pixel."""
    covered = fragments.pix_to_face >= 0
    near = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), FEATHER_PX)
    return np.asarray(covered), np.asarray(near, np.float32)


def _weight(near: MaskF32) -> MaskF32:
    """How much of a change of light is shown: none from the mesh's border on."""
    return np.asarray(np.clip(2 * near - 1, 0, 1), np.float32)
