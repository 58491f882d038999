"""Eyes that turn: what is between the lids moves as the iris does, whole, as far as the corners.

A mesh that fans out from the iris's centre to the lids would move the centre alone: an iris is as
high as the eye is open, so that its edge touches the lids and stays. Columns from lid to lid move
it whole; the white beside it is stretched on one side and pressed together on the other.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Points2, Points3, Triangles
from difffae.face.facemesh import EYE_DEPTH, IRIS_CENTRES, LOWER_LIDS, UPPER_LIDS

_LIDS = 9  # points of each lid, from corner to corner
LID_COLUMNS = 17  # one more between any two points of a lid
_HEIGHTS = np.linspace(0, 1, 5, dtype=np.float32)  # of each column's points, upper lid to lower
_IRIS_RADIUS = 0.2  # a human iris is 11.7 mm wide, the opening between the lids 30 mm [eye widths]
_IRIS_RANGE = (0.15, 0.85)  # an iris whose centre is beyond a lid is taken to be just inside

_UPPER, _LOWER = np.array(UPPER_LIDS), np.array(LOWER_LIDS)
NUM_EYE_POINTS = len(_UPPER) * LID_COLUMNS * len(_HEIGHTS)
_INDEX = np.arange(_LIDS, dtype=np.float64)
_AT = np.linspace(0, _LIDS - 1, LID_COLUMNS)
LID_SPREAD = np.maximum(1 - np.abs(_AT[:, None] - _INDEX), 0).astype(np.float32)  # columns x points
Columns = Float32[NDArray[np.float32], " columns"]
Read = Float32[NDArray[np.float32], "read 2"]


@dataclass(frozen=True, kw_only=True)
class Eyes:
    """The points of both eyes' columns.

    Attributes:
        shown: where they are in the picture [px].
        read: where in the portrait they read [px].
    """

    shown: Points3
    read: Points2


def eye_columns(first: int) -> Triangles:
    """The triangles of both eyes, their points numbered from `first`."""
    rows, cells = len(_HEIGHTS), []
    for eye in range(len(_UPPER)):
        for column in range(LID_COLUMNS - 1):
            for row in range(rows - 1):
                at = first + (eye * LID_COLUMNS + column) * rows + row
                cells += [(at, at + rows, at + 1), (at + 1, at + rows, at + rows + 1)]
    return np.array(cells, np.int32)


def between_lids(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values at the mesh's points, continued from lid to lid.

    Args:
        values: of at least the mesh's points, [n, k].

    Returns:
        At the points of the columns, [`NUM_EYE_POINTS`, k].
    """
    upper, lower = ((LID_SPREAD @ values[lids])[:, :, None] for lids in (_UPPER, _LOWER))
    spread = upper + _HEIGHTS[:, None] * (lower - upper)
    return np.asarray(spread.reshape(-1, values.shape[1]), np.float32)


def eyes(before: Points3, after: Points3, texture: Points3, scale: float) -> Eyes:
    """Both eyes of a face that has moved; an eye that has not turned reads what it stretches over.

    Args:
        before: the portrait's points, the irises' among them [px].
        after: where they are shown [px].
        texture: where the lids read, see `difffae.face.eyelids.unfolded` [px].
        scale: pixels per head unit, of what is shown.
    """
    shown = between_lids(after)
    shown[:, 2] += EYE_DEPTH * scale  # behind the lids, which cover it
    read = [_read(before, after, texture[:, :2], eye) for eye in range(len(_UPPER))]
    return Eyes(shown=shown, read=np.concatenate(read))


def _read(before: Points3, after: Points3, texture: Points2, eye: int) -> Read:
    was, now = _opening(before[:, :2], eye), _opening(after[:, :2], eye)
    unturned = float(np.interp(now.iris, now.columns, was.columns))
    shift = was.iris - unturned
    knots = [unturned - _IRIS_RADIUS, unturned + _IRIS_RADIUS]
    reads = [knots[0] + shift, knots[1] + shift]
    if knots[0] > 0:  # else the iris goes under the corner
        knots, reads = [0.0, *knots], [0.0, *reads]
    if knots[-1] < 1:
        knots, reads = [*knots, 1.0], [*reads, 1.0]
    moved = np.interp(LID_SPREAD @ was.columns, knots, reads)
    column = np.interp(moved, was.columns, _INDEX)
    height = np.interp(_HEIGHTS, [0, now.height, 1], [0, was.height, 1])[:, None]
    upper, lower = (_along(texture[lids[eye]], column)[:, None] for lids in (_UPPER, _LOWER))
    return np.asarray((upper + height * (lower - upper)).reshape(-1, 2), np.float32)


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """An eye measured from its first corner to its second.

    Attributes:
        columns: where the points of its lids are along the way, 0 .. 1.
        iris: where its centre is.
        height: how far the iris is from the upper lid to the lower.
    """

    columns: Columns
    iris: float
    height: float


def _opening(points: Points2, eye: int) -> _Opening:
    upper, lower, iris = points[_UPPER[eye]], points[_LOWER[eye]], points[IRIS_CENTRES[eye]]
    axis = upper[-1] - upper[0]
    axis = axis / max(float(axis @ axis), 1e-6)
    columns = np.maximum.accumulate((upper + lower - 2 * upper[0]) @ axis / 2)
    at = float((iris - upper[0]) @ axis)
    column = np.interp(at, columns, _INDEX)
    top, bottom = (_along(lids, np.array([column]))[0] for lids in (upper, lower))
    gap = bottom - top
    height = (iris - top) @ gap / max(float(gap @ gap), 1e-6)
    return _Opening(columns=columns, iris=at, height=float(np.clip(height, *_IRIS_RANGE)))


def _along(lid: Points2, at: NDArray[np.float64]) -> Read:
    """Points of a lid at fractions of its columns."""
    along = [np.interp(at, _INDEX, lid[:, axis]) for axis in (0, 1)]
    return np.stack(along, axis=-1).astype(np.float32)
