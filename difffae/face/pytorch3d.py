"""The optional rasterizer: pytorch3d where the user has built it, with `rasterizer`'s contract.

The package index has no release of it for Python 3.11. Compared with `rasterize_meshes_python`, the
reference that pytorch3d 0.7.4 itself carries; its compiled code has run on no machine of ours.
"""

from typing import Any

import numpy as np

from difffae.arrays import Points3, Triangles
from difffae.face.rasterizer import Fragments

# Squared distance, in pytorch3d's units, within which a pixel beside a triangle is covered. At 0
# the pixels whose centres lie on an edge between two triangles belong to neither: holes.
_ON_THE_EDGE = 1e-12


class RasterizerUnavailableError(ValueError):
    """A rasterizer that was asked for and is not installed."""


def rasterize_pytorch3d(points: Points3, triangles: Triangles, size: int) -> Fragments:
    """The same as `rasterizer.rasterize`, by pytorch3d.

    Raises:
        RasterizerUnavailableError: pytorch3d is not installed.
    """
    torch, meshes, rasterize_meshes = _pytorch3d()
    # pytorch3d's normalised coordinates: x left, y up, 1 at the border, z in front of the camera.
    near = points[:, 2].min() - 1
    corners = np.stack(
        [1 - 2 * points[:, 0] / size, 1 - 2 * points[:, 1] / size, points[:, 2] - near], -1
    )
    mesh = meshes(
        verts=[torch.from_numpy(corners.astype(np.float32))],
        faces=[torch.from_numpy(triangles.astype(np.int64))],
    )
    faces, depth, barycentric, _ = rasterize_meshes(
        mesh,
        image_size=size,
        blur_radius=_ON_THE_EDGE,
        faces_per_pixel=1,
        bin_size=0,  # what the CPU has
        perspective_correct=False,
        clip_barycentric_coords=False,
        cull_backfaces=False,
    )
    pix_to_face = faces[0, ..., 0].numpy().astype(np.int32)
    is_covered = pix_to_face >= 0
    weights = barycentric[0, ..., 0, :].numpy()
    total = weights.sum(-1)  # 1 but for small triangles, to whose areas pytorch3d adds an epsilon
    return Fragments(
        pix_to_face=pix_to_face,
        barycentric=np.where(is_covered[..., None], weights / total[..., None], 0),
        depth=np.where(is_covered, depth[0, ..., 0].numpy() / total + near, np.inf).astype(
            np.float32
        ),
    )


def _pytorch3d() -> tuple[Any, Any, Any]:
    try:
        import torch
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes
    except ImportError as error:
        raise RasterizerUnavailableError(
            "the configuration asks for rasterizer pytorch3d, which is not installed: build it "
            "from its sources (pytorch3d.org), or set rasterizer: numba"
        ) from error
    return torch, Meshes, rasterize_meshes
