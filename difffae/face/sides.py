"""The sides of a face that turns: skin from the mesh's border to what the portrait shows beside it.

The mesh ends before the ears and along the jaw. A head that turns shows more of one side than the
portrait did; nothing knows those pixels, and what lies outside the border in the portrait is mostly
background or hair. A strip along the border continues the cheek's own skin, mirrored at the border,
and the surroundings begin where the strip ends.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Points2, Points3, Triangles
from difffae.face.facemesh import FACE_OVAL
from difffae.face.parameters import FaceParameters, matrix

_DEPTH = 0.2  # how far the sides reach back [head units]: further makes the jaw too wide
_MIRRORED = 0.7  # of the strip's width is read from the cheek
_INSET = 0.2  # at most: the border itself reads so far inside, where no background shines in
_GIVING = 0.45  # as far inside the border the mesh gives way to what reads further inside
_BEHIND = 0.05  # the strip lies behind the border: the face covers it [head units]
_TEMPLES = (-0.25, 0.15)  # height of a side .. below which it is skin, not hair [head units]
_ROUNDS = 2  # of smoothing along the border

_BORDER = list(FACE_OVAL)
_NEXT = np.roll(np.arange(len(_BORDER)), -1)
_LAST = np.roll(np.arange(len(_BORDER)), 1)
Widths = Float32[NDArray[np.float32], " border"]


@dataclass(frozen=True, kw_only=True)
class Sides:
    """A strip along the face's border, two edges of as many points.

    Attributes:
        shown: where its outer edge is in the picture [px].
        read: where in the portrait that reads [px].
        border_shift: how much further inside its inner edge reads, which is the mesh's border, than
            where it is [px].
    """

    shown: Points3
    read: Points2
    border_shift: Points2


def side_triangles(first: int) -> Triangles:
    """The strip: border points of the mesh, outer points numbered from `first` in their order."""
    count = len(_BORDER)
    strip = []
    for k in range(count):
        after = (k + 1) % count
        strip.append((_BORDER[k], _BORDER[after], first + k))
        strip.append((first + k, _BORDER[after], first + after))
    return np.array(strip, np.int32)


def side_depths(mean: Points3) -> Widths:
    """How far the side reaches back at each border point [head units]: not at all at the temples.

    Args:
        mean: the mean face [head units].
    """
    height = mean[_BORDER, 1]
    low, high = _TEMPLES
    share = np.clip((height - low) / (high - low), 0, 1)
    return np.asarray(_DEPTH * share * share * (3 - 2 * share), np.float32)


def border_shares(mean: Points3) -> Float32[NDArray[np.float32], "p border"]:
    """How much of each border point's shift each point of the mesh takes along.

    All of its own at the border, less and less to `_GIVING` inside: nothing is read twice.

    Args:
        mean: the mean face [head units].
    """
    far = np.linalg.norm(mean[:, None, :2] - mean[_BORDER, :2], axis=-1)
    near = 1 / (far**2 + 1e-6) ** 2
    share = near / near.sum(1, keepdims=True)
    return np.asarray(share * np.clip(1 - far.min(1) / _GIVING, 0, 1)[:, None], np.float32)


def sides(
    before: Points3, after: Points3, faces: tuple[FaceParameters, FaceParameters], depths: Widths
) -> Sides:
    """The strip of a face that has moved; of no width where no more of a side is seen.

    Args:
        before: the portrait's points [px].
        after: where they are shown [px].
        faces: of the portrait, and the one shown.
        depths: see `side_depths`.
    """
    source, target = faces
    outward = [_outward(points[_BORDER, :2]) for points in (before, after)]
    seen = [
        normals @ matrix(face.rotation)[:2, 2] for face, normals in zip(faces, outward, strict=True)
    ]
    width = depths * np.maximum(seen[1] - np.maximum(seen[0], 0), 0)
    for _ in range(_ROUNDS):
        width = (width[_LAST] + 2 * width + width[_NEXT]) / 4
    width = width[:, None]
    shown = after[_BORDER].copy()
    shown[:, :2] += width * target.scale * outward[1]
    shown[:, 2] += _BEHIND * target.scale
    inset = np.minimum(width, _INSET)
    border, outer = (
        before[_BORDER, :2] - depth * source.scale * outward[0]
        for depth in (inset, inset + _MIRRORED * width)
    )
    return Sides(
        shown=shown.astype(np.float32),
        read=outer.astype(np.float32),
        border_shift=(border - before[_BORDER, :2]).astype(np.float32),
    )


def _outward(ring: Points2) -> Points2:
    """Unit normals of a closed outline, out of it."""
    along = ring[_NEXT] - ring[_LAST]
    normals = np.stack([along[:, 1], -along[:, 0]], 1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    is_inward = ((ring - ring.mean(0)) * normals).sum() < 0
    return np.asarray(-normals if is_inward else normals, np.float32)
