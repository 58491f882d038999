"""The inside of a mouth: rigid where the portrait shows it, the mean of many mouths where not.

Teeth do not stretch. A mouth that opens further keeps what the portrait shows below its upper lip
and above its lower one; between them, and where the portrait's lips are closed, stands the mean
inside of mouths that are open as far and as wide. A mouth that closes covers what it showed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Points2, Points3, Triangles
from difffae.face.facemesh import CHIN, FOREHEAD, LOWER_LIP, UPPER_LIP, MouthInterior

MOUTH_GAPS = (0.05, 0.1, 0.16, 0.24, 0.34, 0.48, 0.7)  # between the inner lips [head units]
MOUTH_WIDTHS = (0.7, 0.83, 0.98)  # between their corners [head units]
MOUTH_SHAPE = (13, 21)  # points from lip to lip, and from corner to corner
NUM_MOUTH_POINTS = MOUTH_SHAPE[0] * MOUTH_SHAPE[1]
SKIN = (50, 280, 205, 425, 151, 9)  # points of cheeks and forehead whose colour is the skin's
MIDDLE = slice(6, 15)  # of the columns: their mean height is how far a mouth is open
_UNSEEN = (0.03, 0.09)  # a portrait's opening that shows nothing .. an inside [head units]
_TOP, _BOTTOM = 0.75, 0.15  # of a seen inside, that stay with the lips as the mouth opens
_SOFT = 0.3  # of a seen inside, over which what is beyond fades
_STRETCH = (1.15, 1.75)  # of a seen inside that may be seen .. that is replaced
_LEAST_GAP = 0.004  # of a column that is measured [head units]
_FULL_COLOUR = 0.35  # saturation of usual skin; a portrait in black and white has none
_SPEAKING = (0.25, 0.5)  # a portrait's opening whose inside is teeth .. may be stretched at will
_USUAL_LUMA = 154.0  # of skin that insides were learned beside
_OWN_TONE = 0.3  # of what makes skin darker than that is its tone, not its light: teeth have none
_USUAL_CAST = np.array([1.22, 0.93, 0.78], np.float32)  # their red, green and blue over luma
_OWN_CAST = 0.5  # likewise of what makes its colour another
_DARKNESS = 0.25  # of an inside of which nothing is known, as a share of the skin's colour
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
_HEIGHTS = np.linspace(0, 1, MOUTH_SHAPE[0], dtype=np.float32)
_ALONG = np.linspace(0, len(UPPER_LIP) - 1, MOUTH_SHAPE[1])
_SPREAD = np.maximum(1 - np.abs(_ALONG[:, None] - np.arange(len(UPPER_LIP))), 0).astype(np.float32)
_NOSE_BASE, _UPPER_MIDDLE = 2, 13
Colour = Float32[NDArray[np.float32], " 3"]
Column = Float32[NDArray[np.float32], " columns"]
Grid = Float32[NDArray[np.float32], "rows columns"]


@dataclass(frozen=True, kw_only=True)
class Mouth:
    """The points between the inner lips, row by row from the upper lip.

    Attributes:
        shown: where they are in the picture [px].
        read: where in the portrait they read [px].
        paint: how much of what they read gives way to a colour, and that colour times as much,
            as shares of the skin's colour; see `tint`.
    """

    shown: Points3
    read: Points2
    paint: Float32[NDArray[np.float32], "points 4"]


def mouth_cells(first: int) -> Triangles:
    """The triangles between the lips, their points numbered from `first`."""
    rows, columns = MOUTH_SHAPE
    at = first + np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = at[:-1, :-1], at[:-1, 1:], at[1:, :-1], at[1:, 1:]
    cells = np.stack([np.stack([a, b, c], -1), np.stack([b, d, c], -1)])
    return np.asarray(cells.reshape(-1, 3), np.int32)


def between_lips(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values at the mesh's points, continued from lip to lip: [`NUM_MOUTH_POINTS`, k]."""
    upper, lower = (_SPREAD @ values[list(lip)] for lip in (UPPER_LIP, LOWER_LIP))
    spread = upper + _HEIGHTS[:, None, None] * (lower - upper)
    return np.asarray(spread.reshape(NUM_MOUTH_POINTS, -1), np.float32)


def lips_apart(points: Points3) -> Points3:
    """The same face with lips that have passed through one another meeting half way.

    Args:
        points: of the mesh [px].
    """
    upper, lower = list(UPPER_LIP[1:-1]), list(LOWER_LIP[1:-1])
    down = points[CHIN, :2] - points[FOREHEAD, :2]
    overlap = np.minimum((points[lower, :2] - points[upper, :2]) @ down, 0) / max(down @ down, 1e-6)
    if not overlap.any():
        return points
    shift = overlap[:, None] * down / 2
    apart = points.copy()
    apart[upper, :2] += shift
    apart[lower, :2] -= shift
    return apart


def mouth(
    before: Points3,
    after: Points3,
    scales: tuple[float, float],
    interior: MouthInterior,
) -> Mouth:
    """The inside of the mouth of a face that has moved.

    Args:
        before: the portrait's points [px].
        after: where they are shown [px].
        scales: pixels per head unit, of both.
        interior: the mean inside at `MOUTH_GAPS` and `MOUTH_WIDTHS`, see `Mouth.paint`.
    """
    was, now = (_gaps(p, s) for p, s in zip((before, after), scales, strict=True))
    drops = [_drop(p, s) for p, s in zip((before, after), scales, strict=True)]
    height = _HEIGHTS[:, None] * now
    read, beyond = _rigid(height, was, now, max(drops[1] - drops[0], 0.0))
    upper, lower = (_SPREAD @ before[list(lip), :2] for lip in (UPPER_LIP, LOWER_LIP))
    share = np.clip(read / np.maximum(was, _LEAST_GAP), 0, 1)[..., None]
    open_was, open_now = (float(gaps[MIDDLE].mean()) for gaps in (was, now))
    stretch = _ramp(open_now / max(open_was, _LEAST_GAP), _STRETCH) * (
        1 - _ramp(open_was, _SPEAKING)
    )
    weight = np.maximum(beyond * stretch, 1 - _ramp(open_was, _UNSEEN)).reshape(-1, 1)
    width = float(np.linalg.norm(after[UPPER_LIP[0]] - after[UPPER_LIP[-1]])) / scales[1]
    colours = _looked_up(interior, open_now, width).reshape(-1, 3)
    return Mouth(
        shown=between_lips(after),
        read=np.asarray((upper + share * (lower - upper)).reshape(-1, 2), np.float32),
        paint=np.concatenate([weight, weight * colours], 1).astype(np.float32),
    )


def skin_colour(portrait: ImageU8, points: Points3) -> Colour:
    """The median colour of cheeks and forehead."""
    at = np.rint(points[list(SKIN), :2] - 0.5).astype(int)
    height, width = portrait.shape[:2]
    columns, rows = np.clip(at, 0, [width - 1, height - 1]).T
    return np.asarray(np.median(portrait[rows, columns], axis=0), np.float32)


def tint(skin: Colour) -> Float32[NDArray[np.float32], "3 3"]:
    """The matrix from shares of a skin's colour to colours; a grey skin's mouth is grey."""
    saturation = float(skin.max() - skin.min()) / max(float(skin.max()), 1.0)
    colour = np.float32(min(saturation / _FULL_COLOUR, 1.0))
    mixed = colour * np.eye(3, dtype=np.float32) + (1 - colour) * _LUMA
    luma = max(float(skin @ _LUMA), 1.0)
    cast = (np.maximum(skin, 1.0) / luma / _USUAL_CAST) ** (-colour * _OWN_CAST)
    bright = (_USUAL_LUMA / luma) ** _OWN_TONE
    return np.asarray(bright * (cast * skin)[:, None] * mixed, np.float32)


def plain_interior() -> MouthInterior:
    """An inside that is dark, for head models that have learned none."""
    shape = (len(MOUTH_GAPS), len(MOUTH_WIDTHS), *MOUTH_SHAPE, 3)
    return np.full(shape, _DARKNESS, np.float32)


def _gaps(points: Points3, scale: float) -> Column:
    """How far the lips are apart in each column [head units]."""
    upper, lower = (_SPREAD @ points[list(lip)] for lip in (UPPER_LIP, LOWER_LIP))
    return np.asarray(np.linalg.norm(lower - upper, axis=-1) / scale, np.float32)


def _drop(points: Points3, scale: float) -> float:
    """How far the upper lip hangs below the nose [head units]; teeth hang as far always."""
    return float(np.linalg.norm(points[_UPPER_MIDDLE] - points[_NOSE_BASE])) / scale


def _rigid(height: Grid, was: Column, now: Column, drop: float) -> tuple[Grid, Grid]:
    """How far below the upper lip to read, and 1 where that is between the rigid parts.

    All in head units: `height` of the points below the upper lip, how far the lips are apart in the
    portrait (`was`) and in what is shown (`now`), and by how much the upper lip has dropped.
    """
    top, bottom = _TOP * was, _BOTTOM * was
    middle = np.maximum(now - bottom - top, 1e-6)
    opened = top + (height - top) / middle * (was - bottom - top)
    opened = np.where(height < top, height, opened)
    opened = np.where(height > now - bottom, height - now + was, opened)
    read = np.where(now > was, opened, np.minimum(height + drop, was))
    soft = np.maximum(_SOFT * was, _LEAST_GAP)
    beyond = np.clip((height - top) / soft, 0, 1) * np.clip((now - height) / soft, 0, 1)
    return read, np.where(now > was, beyond, 0)


def _looked_up(interior: MouthInterior, gap: float, width: float) -> NDArray[np.float32]:
    """The mean inside of mouths open so far and so wide: [rows, columns, 3]."""
    found = interior
    for value, nodes in ((gap, MOUTH_GAPS), (width, MOUTH_WIDTHS)):
        at = float(np.interp(value, nodes, np.arange(len(nodes))))
        low = min(int(at), len(nodes) - 2)
        found = found[low] + np.float32(at - low) * (found[low + 1] - found[low])
    return found


def _ramp(value: float, reach: tuple[float, float]) -> float:
    return float(np.clip((value - reach[0]) / (reach[1] - reach[0]), 0, 1))
