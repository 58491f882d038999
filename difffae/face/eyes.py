"""Eyes that turn and open: what is between the lids moves as the iris does, whole.

A mesh that fans out from the iris's centre to the lids would move the centre alone: an iris is as
high as the eye is open, so that its edge touches the lids and stays. Columns from lid to lid move
it whole; the white beside it is stretched on one side and pressed together on the other. Lids
slide over it, each with its lashes: an eye that narrows covers its iris, and one that widens shows
more of the white, which is painted where the portrait hides it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Points2, Points3, Triangles
from difffae.face.facemesh import EYE_DEPTH, IRIS_CENTRES, LOWER_LIDS, UPPER_LIDS, values_at

_LIDS = 9  # points of each lid, from corner to corner
LID_COLUMNS = 17  # one more between any two points of a lid
_HEIGHTS = np.linspace(0, 1, 9, dtype=np.float32)  # of each column's points, upper lid to lower
_IRIS_RADIUS = 0.2  # a human iris is 11.7 mm wide, the opening between the lids 30 mm [eye widths]
_IRIS_HEIGHT = 0.096  # likewise from its centre up [head units]
_LEAST_GAP_PX = 1e-3
_LASHES = (0.015, 0.008)  # that stay with the upper and the lower lid [head units]
_MOST_LASHES = 0.3  # of how far an eye is open
_SHADED = (0.07, 0.03)  # what lashes darken below the upper lid and above the lower [head units]
_SOFT = 0.03  # over which what is seen gives way to paint [head units]
# What 1,224 wide eyes of 164 people show beside irises, in shares of `mouth.paint_colour`.
USUAL_WHITE = np.array([0.92, 1.04, 1.22], np.float32)
_CLEAR = (0.05, 0.02)  # how far from the upper and the lower lid it is seen well [head units]
_WHITE = (0.95, 1.15)  # from an iris's centre: from where on the white begins .. is all [its radii]
_LEAST_SEEN = 6  # points of the white, to know its colour
_WHITE_LEVEL = 85  # percentile of them: corners and shadows are darker
_SHADE = 0.85  # of the light, that is left under the upper lid
_VISIBLE = 0.01  # share of paint that can be seen

_UPPER, _LOWER = np.array(UPPER_LIDS), np.array(LOWER_LIDS)
NUM_EYE_POINTS = len(_UPPER) * LID_COLUMNS * len(_HEIGHTS)
_INDEX = np.arange(_LIDS, dtype=np.float64)
_AT = np.linspace(0, _LIDS - 1, LID_COLUMNS)
LID_SPREAD = np.maximum(1 - np.abs(_AT[:, None] - _INDEX), 0).astype(np.float32)  # columns x points
Columns = Float32[NDArray[np.float32], " columns"]
Read = Float32[NDArray[np.float32], "read 2"]
Grid = Float32[NDArray[np.float32], "columns rows"]
White = Float32[NDArray[np.float32], " 3"]
Paint = Float32[NDArray[np.float32], "points 4"]


@dataclass(frozen=True, kw_only=True)
class Eyes:
    """The points of both eyes' columns.

    Attributes:
        shown: where they are in the picture [px].
        read: where in the portrait they read [px].
        paint: see `difffae.face.mouth.Mouth.paint`; None where nothing is.
    """

    shown: Points3
    read: Points2
    paint: Paint | None


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


def eyes(
    before: Points3, after: Points3, texture: Points3, scales: tuple[float, float], white: White
) -> Eyes:
    """Both eyes of a face that has moved; one that has not reads where it is.

    Args:
        before: the portrait's points, the irises' among them [px].
        after: where they are shown [px].
        texture: where the lids read, see `difffae.face.eyelids.unfolded` [px].
        scales: pixels per head unit, of both.
        white: of the portrait's eyes, in the unit of `Eyes.paint`.
    """
    shown = between_lids(after)
    shown[:, 2] += EYE_DEPTH * scales[1]  # behind the lids, which cover it
    both = [_Moved(before, after, scales, eye) for eye in range(len(_UPPER))]
    weights = np.concatenate([each.unseen.reshape(-1, 1) for each in both])
    paint = None
    if weights.max() > _VISIBLE:
        light = np.concatenate([each.light().reshape(-1, 1) for each in both])
        paint = np.concatenate([weights, weights * light * white], 1).astype(np.float32)
    return Eyes(
        shown=shown,
        read=np.concatenate([each.read(texture) for each in both]),
        paint=paint,
    )


def seen_white(image: ImageU8, points: Points3, scale: float, usual: White) -> White:
    """The colour of the white of a portrait's eyes, as bright as usual at least.

    Args:
        image: the portrait.
        points: of the mesh and the irises [px].
        scale: pixels per head unit.
        usual: of eyes beside such skin.
    """
    seen = values_at(image, between_lids(points)[None, :, :2])[0]
    both = [_Moved(points, points, (scale, scale), eye) for eye in range(len(_UPPER))]
    white = seen[np.concatenate([each.shows_white().ravel() for each in both])]
    if len(white) < _LEAST_SEEN:
        return usual
    own = np.maximum(np.percentile(white, _WHITE_LEVEL, axis=0), 1)
    return np.asarray(own * max(1, usual.mean() / own.mean()), np.float32)


class _Moved:
    """An eye before and after, its columns from corner to corner, all in head units.

    Attributes:
        unseen: how much of each point is white that the portrait hides.
    """

    def __init__(
        self, before: Points3, after: Points3, scales: tuple[float, float], eye: int
    ) -> None:
        was, now = (_opening(points[:, :2], eye) for points in (before, after))
        self._eye, self._lids = eye, before[:, :2]
        self._column = _turned_columns(was, now)
        self._aside = (LID_SPREAD @ now.columns - now.iris) / _IRIS_RADIUS
        self._gap, level_was = (each / scales[0] for each in was.heights(self._column))
        gap_now, level_now = (each / scales[1] for each in now.heights(_AT))
        self._below = _HEIGHTS * gap_now
        self._above = gap_now - self._below
        self._off = self._below - level_now
        self._place = level_was + self._off
        most = _MOST_LASHES * np.minimum(self._gap, gap_now)
        self._lashes = [np.minimum(each, most) for each in _LASHES]
        self.unseen = self._hidden()

    def _white(self) -> Grid:
        """1 beside the iris, 0 on it."""
        away = np.hypot(self._aside[:, None], self._off / _IRIS_HEIGHT)
        return np.asarray(np.clip((away - _WHITE[0]) / (_WHITE[1] - _WHITE[0]), 0, 1), np.float32)

    def _hidden(self) -> Grid:
        upper, lower = self._lashes
        over, under = _SHADED
        missing = np.maximum(
            np.minimum(over, self._below) - self._place,
            np.minimum(under, self._above) - (self._gap - self._place),
        )
        if missing.max() <= 0:
            return np.zeros_like(missing, np.float32)
        inside = np.minimum(self._below - upper, self._above - lower)
        share = np.clip(missing / _SOFT, 0, 1) * np.clip(inside / _SOFT, 0, 1)
        return np.asarray(share * self._white(), np.float32)

    def shows_white(self) -> NDArray[np.bool_]:
        """Where there is white that no lid shades."""
        over, under = _CLEAR
        clear = (self._below > over) & (self._above > under)
        return np.asarray(clear & (self._white() == 1), bool)

    def light(self) -> Grid:
        """How much of the light is left under the upper lid."""
        fallen = np.clip(self._below / (3 * _SHADED[0]), 0, 1)
        return np.asarray(_SHADE + (1 - _SHADE) * fallen, np.float32)

    def read(self, texture: Points3) -> Read:
        """Where in the portrait the points read."""
        upper, lower = self._lashes
        place = np.clip(self._place, upper, self._gap - lower)
        place = np.where(self._below < upper, self._below, place)
        place = np.where(self._above < lower, self._gap - self._above, place)
        share = (place / self._gap)[..., None]
        lids = [_along(self._lids[each[self._eye]], self._column) for each in (_UPPER, _LOWER)]
        read = lids[0][:, None] + share * (lids[1] - lids[0])[:, None]
        for each, lid, lashes, near in zip(
            (_UPPER, _LOWER), lids, self._lashes, (self._below, self._above), strict=True
        ):
            shift = _along(texture[each[self._eye], :2], self._column) - lid
            read += np.clip(1 - near / lashes, 0, 1)[..., None] * shift[:, None]
        return np.asarray(read.reshape(-1, 2), np.float32)


def _turned_columns(was: "_Opening", now: "_Opening") -> NDArray[np.float64]:
    """Which column of the portrait each column reads."""
    unturned = float(np.interp(now.iris, now.columns, was.columns))
    shift = was.iris - unturned
    knots = [unturned - _IRIS_RADIUS, unturned + _IRIS_RADIUS]
    reads = [knots[0] + shift, knots[1] + shift]
    if knots[0] > 0:  # else the iris goes under the corner
        knots, reads = [0.0, *knots], [0.0, *reads]
    if knots[-1] < 1:
        knots, reads = [*knots, 1.0], [*reads, 1.0]
    moved = np.interp(LID_SPREAD @ was.columns, knots, reads)
    return np.asarray(np.interp(moved, was.columns, _INDEX), np.float64)


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """An eye measured from its first corner to its second.

    Attributes:
        columns: where the points of its lids are along the way, 0 .. 1.
        iris: where its centre is.
        upper, lower: how far the points of its lids are below the way [px].
        level: likewise, the iris's centre.
    """

    columns: Columns
    iris: float
    upper: Columns
    lower: Columns
    level: float

    def heights(self, at: NDArray[np.float64]) -> tuple[Grid, Grid]:
        """How far the lids are apart at fractions of the columns, and the iris below the upper."""
        upper, lower = (np.interp(at, _INDEX, lid)[:, None] for lid in (self.upper, self.lower))
        return (
            np.asarray(np.maximum(lower - upper, _LEAST_GAP_PX), np.float32),
            np.asarray(self.level - upper, np.float32),
        )


def _opening(points: Points2, eye: int) -> _Opening:
    upper, lower, iris = points[_UPPER[eye]], points[_LOWER[eye]], points[IRIS_CENTRES[eye]]
    axis = upper[-1] - upper[0]
    width = max(float(np.linalg.norm(axis)), 1e-3)
    across, down = axis / width, np.array([-axis[1], axis[0]]) / width
    if (lower - upper).sum(0) @ down < 0:
        down = -down
    columns = np.maximum.accumulate((upper + lower - 2 * upper[0]) @ across / (2 * width))
    at = float((iris - upper[0]) @ across) / width
    heights = [np.asarray((lid - upper[0]) @ down, np.float32) for lid in (upper, lower)]
    level = float((iris - upper[0]) @ down)
    return _Opening(columns=columns, iris=at, upper=heights[0], lower=heights[1], level=level)


def _along(lid: Points2, at: NDArray[np.float64]) -> Read:
    """Points of a lid at fractions of its columns."""
    along = [np.interp(at, _INDEX, lid[:, axis]) for axis in (0, 1)]
    return np.stack(along, axis=-1).astype(np.float32)
