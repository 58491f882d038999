"""Eyelids that close: a mesh stretches what it sees of an open eye's lid, a real lid unfolds.

While an eye is open most of its upper lid is folded away; between the lashes and the crease the
portrait shows a few pixels, dark with lashes. Stretched over a closed eye they would smear it, so
that the closing lid borrows the plain skin above its crease, and the lashes stay a line.
"""

from itertools import pairwise

import numpy as np

from difffae.arrays import Points3
from difffae.face.facemesh import LOWER_LIDS, UPPER_LIDS, vertical

# Each eye's rows of points: from the upper lid's edge up to the brow, and below the lower lid's,
# in the order of the ring of its lids.
CREASES = ((247, 30, 29, 27, 28, 56, 190), (414, 286, 258, 257, 259, 260, 467))
SOCKETS = ((113, 225, 224, 223, 222, 221, 189), (413, 441, 442, 443, 444, 445, 342))
_BROWS = ((46, 53, 52, 65, 55, 193, 193), (417, 417, 285, 295, 282, 283, 276))
BELOW = ((25, 110, 24, 23, 22, 26, 112), (341, 256, 252, 253, 254, 339, 255))
_RISES = (0.25, 0.9, 0.4)  # of each row of the way to the next one up, on a lid that is closed
_FALL = 0.3  # of the lower lid's edge of the way to the row below
_MEETING = (0.03, 0.08)  # an opening at which lids meet .. from which they are left [head units]
_UPPER_SHARE = 0.85  # of the way is the upper lid's
_OVERLAP = 0.025  # of lids that meet: nothing of the eye shines through [head units]
_LEAST_OPENING = 0.04  # of an eye that can close further [head units]


def _lids(eye: int) -> tuple[list[int], list[int]]:
    """Points along the upper lid's edge, and those along the lower one's below them."""
    return list(UPPER_LIDS[eye][1:-1]), list(LOWER_LIDS[eye][1:-1])


def lid_opening(points: Points3, scale: float, eye: int) -> float:
    """Of the middle of an eye, along the head's vertical; below 0 where the lids overlap."""
    upper, lower = _lids(eye)
    gaps = (points[lower, :2] - points[upper, :2]) @ vertical(points)
    return float(gaps[2:5].mean()) / scale


def meet(points: Points3, scale: float) -> Points3:
    """The same face with lids that nearly meet closed for good; trackers leave a slit.

    Args:
        points: of the mesh and the irises [px].
        scale: pixels per head unit.
    """
    closed = points.copy()
    low, high = _MEETING
    for eye in range(2):
        share = np.clip((high - lid_opening(points, scale, eye)) / (high - low), 0, 1)
        if share == 0:
            continue
        upper, lower = _lids(eye)
        gap = points[lower] - points[upper]
        length = np.linalg.norm(gap[:, :2], axis=1, keepdims=True)
        gap = gap * (1 + _OVERLAP * scale / np.maximum(length, 0.25))
        closed[upper] += np.float32(share * _UPPER_SHARE) * gap
        closed[lower] -= np.float32(share * (1 - _UPPER_SHARE)) * gap
    return closed


def unfolded(before: Points3, after: Points3, scales: tuple[float, float]) -> Points3:
    """Where in the portrait the mesh's points read, once its lids have closed.

    Args:
        before: the portrait's points [px].
        after: where they are shown [px].
        scales: pixels per head unit, of both.
    """
    texture = before.copy()
    for eye in range(2):
        was, now = (lid_opening(p, s, eye) for p, s in zip((before, after), scales, strict=True))
        closure = np.float32(np.clip(1 - now / max(was, _LEAST_OPENING), 0, 1))
        if was < _LEAST_OPENING or closure == 0:
            continue
        rows = [_lids(eye)[0], *(list(each[eye]) for each in (CREASES, SOCKETS, _BROWS))]
        for rise, (row, above) in zip(_RISES, pairwise(rows), strict=True):
            texture[row] += closure * np.float32(rise) * (before[above] - before[row])
        lower, below = _lids(eye)[1], list(BELOW[eye])
        texture[lower] += closure * np.float32(_FALL) * (before[below] - before[lower])
    return texture
