"""What a closing lid looks like: plain skin over a line of lashes, as many closed eyes show it.

An open eye's portrait does not show the skin of its upper lid, nor lashes that point down. Both are
painted, as shares of the skin beside that eye, once the lid has come down.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Points3, Triangles
from difffae.face.eyelids import BELOW, CREASES, SOCKETS, lid_opening
from difffae.face.eyes import LID_COLUMNS, LID_SPREAD
from difffae.face.facemesh import LOWER_LIDS, UPPER_LIDS, LidShades, values_at

LID_GAPS = (0.0, 0.045, 0.075, 0.105)  # of the eyes that shades are learned from [head units]
# Rows of an eye's points: -1 at the row of the mesh below the lower lid, 0 at both lids' edges and
# between them, 1 at the crease of the upper lid, 2 at the row above it.
_UNDER = np.array([-1.5, -1.2, -0.9, -0.6, -0.3, 0], np.float32)
_BETWEEN = np.array([1, 2], np.float32) / 3  # of the way from the lower lid to the upper one
_OVER = np.array([0, 0.15, 0.35, 0.6, 1, 1.5, 2], np.float32)
_HEIGHTS = np.concatenate([_UNDER, 0 * _BETWEEN, _OVER])
LID_SHAPE = (len(_HEIGHTS), LID_COLUMNS)
_INSIDE = slice(len(_UNDER), -len(_OVER))
_PLAIN = slice(2, -2)  # columns of the first and last row that show the skin beside an eye
_PLAIN_LEVEL = 60  # percentile of them that is its colour: hair and shadows are darker
_CLOSED = (0.3, 0.75)  # of the portrait's opening: from what closure on lids are painted .. wholly
_LEAST_OPENING = 0.05  # of an eye that can close [head units]
_SLIT = (0.03, 0.08)  # an opening that shows lashes alone .. from which on it shows the eye
_NEARER = 0.02  # than the mesh they lie on [head units]
_ROW_WEIGHTS = np.interp(_HEIGHTS, [-1.5, -0.9, 1, 2], [0, 1, 1, 0]).astype(np.float32)
_COLUMN_WEIGHTS = np.interp(np.arange(LID_COLUMNS), [0, 2, 14, 16], [0, 1, 1, 0]).astype(np.float32)
_WEIGHTS = _ROW_WEIGHTS[:, None] * _COLUMN_WEIGHTS

SkinBeside = Float32[NDArray[np.float32], "rows 3"]
LidGrid = Float32[NDArray[np.float32], "rows columns 3"]


@dataclass(frozen=True, kw_only=True)
class Lids:
    """The points of the lids that close.

    Attributes:
        shown: where they are in the picture [px].
        triangles: of them.
        paint: see `difffae.face.mouth.Mouth.paint`.
    """

    shown: Points3
    triangles: Triangles
    paint: Float32[NDArray[np.float32], "points 4"]


def lid_places(points: Points3, eye: int) -> LidGrid:
    """The places of an eye's lids, row by row from below, from its first corner to its second."""
    upper, lower = (points[list(lids[eye])] for lids in (UPPER_LIDS, LOWER_LIDS))
    corners = upper[:1], upper[-1:]
    below, crease, socket = (
        np.concatenate([corners[0], points[list(rows[eye])], corners[1]])
        for rows in (BELOW, CREASES, SOCKETS)
    )
    under = lower - _UNDER[:, None, None] * (below - lower)
    over = upper + np.minimum(_OVER, 1)[:, None, None] * (crease - upper)
    over = over + np.maximum(_OVER - 1, 0)[:, None, None] * (socket - crease)
    between = lower + _BETWEEN[:, None, None] * (upper - lower)
    return np.asarray(LID_SPREAD @ np.concatenate([under, between, over]), np.float32)


def lid_colours(image: ImageU8, points: Points3, eye: int) -> LidGrid:
    """What a picture shows there."""
    return values_at(image, lid_places(points, eye)[..., :2])


def skin_beside(colours: LidGrid) -> SkinBeside:
    """The plain skin beside an eye at each row of its lids, between that below and that above."""
    below, above = (np.percentile(colours[row, _PLAIN], _PLAIN_LEVEL, axis=0) for row in (0, -1))
    share = (_HEIGHTS - _HEIGHTS[0]) / (_HEIGHTS[-1] - _HEIGHTS[0])
    return np.asarray(below + share[:, None] * (above - below), np.float32)


def lids(
    before: Points3,
    after: Points3,
    scales: tuple[float, float],
    shades: LidShades,
    skin: tuple[SkinBeside, SkinBeside],
) -> Lids | None:
    """The lids of a face whose eyes have closed further; None where none has.

    Args:
        before: the portrait's points [px].
        after: where they are shown [px].
        scales: pixels per head unit, of both.
        shades: of lids at `LID_GAPS`, see `difffae.training.lids`.
        skin: beside each eye, in the unit of `Lids.paint`.
    """
    shown, paint = [], []
    for eye in range(2):
        was, now = (lid_opening(p, s, eye) for p, s in zip((before, after), scales, strict=True))
        closure = np.interp(1 - now / max(was, _LEAST_OPENING), _CLOSED, [0, 1])
        if was < _LEAST_OPENING or closure == 0:
            continue
        shade = _looked_up(shades, now)
        if eye == 1:
            shade = shade[:, ::-1]
        weight = np.float32(closure) * _WEIGHTS[..., None]
        weight[_INSIDE] *= np.float32(np.interp(now, _SLIT, [1, 0]))
        colour = shade * skin[eye][:, None]
        shown.append(lid_places(after, eye).reshape(-1, 3))
        paint.append(np.concatenate([weight, weight * colour], -1).reshape(-1, 4))
    if not shown:
        return None
    places = np.concatenate(shown)
    places[:, 2] -= _NEARER * scales[1]
    return Lids(
        shown=places,
        triangles=_TRIANGLES[: len(shown) * len(_TRIANGLES) // 2],
        paint=np.concatenate(paint).astype(np.float32),
    )


def _looked_up(shades: LidShades, gap: float) -> LidGrid:
    """The shades of lids that are open so far."""
    at = float(np.interp(gap, LID_GAPS, np.arange(len(LID_GAPS))))
    low = min(int(at), len(LID_GAPS) - 2)
    return np.asarray(shades[low] + np.float32(at - low) * (shades[low + 1] - shades[low]))


def _cells() -> Triangles:
    """The triangles of both eyes' lids."""
    at = np.arange(2 * LID_SHAPE[0] * LID_SHAPE[1]).reshape(2, *LID_SHAPE)
    a, b, c, d = at[:, :-1, :-1], at[:, :-1, 1:], at[:, 1:, :-1], at[:, 1:, 1:]
    cells = np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], -2)
    return np.asarray(cells.reshape(-1, 3), np.int32)


_TRIANGLES = _cells()
