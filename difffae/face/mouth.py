"""The inside of a mouth: rigid where the portrait shows it, like that of many mouths where not.

Teeth do not stretch. A mouth that opens further keeps what the portrait shows below its upper lip
and above its lower one; between them, and where the portrait's lips are closed, stands the mean
inside of mouths that are open as far and as wide. A mouth that closes covers what it showed, and
between lips that are about to meet there is the mean mouth's dark line: no teeth are as low.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Points2, Points3, Triangles
from difffae.face.facemesh import (
    CHIN,
    LOWER_LIP,
    NUM_MESH_POINTS,
    UPPER_LIP,
    MouthInterior,
    vertical,
)
from difffae.face.teeth import relief_places, tooth_share

MOUTH_GAPS = (0.05, 0.1, 0.16, 0.24, 0.34, 0.48, 0.7)  # between the inner lips [head units]
MOUTH_WIDTHS = (0.7, 0.83, 0.98, 1.12)  # between their corners [head units]
MOUTH_SHAPE = (13, 21)  # points from lip to lip, and from corner to corner
INTERIOR_SHAPE = (len(MOUTH_GAPS), len(MOUTH_WIDTHS), *MOUTH_SHAPE, 3)
NUM_MOUTH_POINTS = MOUTH_SHAPE[0] * MOUTH_SHAPE[1]
SKIN = (50, 280, 205, 425, 151, 9)  # points of cheeks and forehead whose colour is the skin's
MIDDLE = slice(6, 15)  # of the columns: their mean height is how far a mouth is open
_UNSEEN = (0.03, 0.09)  # a portrait's opening that shows nothing .. an inside [head units]
_SHUT = (0.03, 0.07)  # an opening that shows a dark line, no teeth .. that shows them [head units]
_NARROWED = (0.3, 0.6)  # likewise, as a share of the portrait's
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
_LIT = 0.72  # of an inside, as a share of the skin's luma: what is so bright is a tooth
_DEEPEST = 0.5  # of its light, that is left to what is darkest
_SMILING = (0.85, 1.0)  # a width that may show what is behind teeth .. that shows teeth alone
_LAUGHING = (0.24, 0.36)  # an opening of so wide a mouth, that shows teeth .. what is behind them
_DARKNESS = 0.46  # of an inside of which nothing is known, before it is shown deeper
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
_HEIGHTS = np.linspace(0, 1, MOUTH_SHAPE[0], dtype=np.float32)
_ALONG = np.linspace(0, len(UPPER_LIP) - 1, MOUTH_SHAPE[1])
_SPREAD = np.maximum(1 - np.abs(_ALONG[:, None] - np.arange(len(UPPER_LIP))), 0).astype(np.float32)
_NOSE_BASE, _UPPER_MIDDLE = 2, 13
_LIP_OUTLINE = [146, 91, 181, 84, 17, 314, 405, 321, 375]  # of the lower lip
_BELOW_LIP = [43, 106, 182, 83, 18, 313, 406, 335, 273]  # of the skin next to it
_LEAST_ROOM = 0.5  # between the two, of what the portrait has
Colour = Float32[NDArray[np.float32], " 3"]
Column = Float32[NDArray[np.float32], " columns"]
Grid = Float32[NDArray[np.float32], "rows columns"]
Inside = Float32[NDArray[np.float32], "rows columns 3"]


@dataclass(frozen=True, kw_only=True)
class Mouth:
    """The points between the inner lips, row by row from the upper lip.

    Attributes:
        shown: where they are in the picture [px].
        read: where in the portrait they read [px].
        paint: how much of what they read gives way to a colour, and that colour times as much,
            as shares of `paint_colour`; see `tint`.
        teeth: where they read in a relief of teeth (column, row), and how much of it shows.
    """

    shown: Points3
    read: Points2
    paint: Float32[NDArray[np.float32], "points 4"]
    teeth: Float32[NDArray[np.float32], "points 3"]


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
    down = vertical(points)
    overlap = np.minimum((points[lower, :2] - points[upper, :2]) @ down, 0)
    if not overlap.any():
        return points
    shift = overlap[:, None] * down / 2
    apart = points.copy()
    apart[upper, :2] += shift
    apart[lower, :2] -= shift
    return apart


def lip_above_chin(points: Points3, before: Points3, scales: tuple[float, float]) -> Points3:
    """The same face with the skin below the lower lip below it: a lip that drops pushes it down.

    An expression can lower a lip further than the skin under it, which would then fold over it.

    Args:
        points: of the mesh [px].
        before: those of the portrait [px].
        scales: pixels per head unit, of the portrait and of what is shown.
    """
    downs = [vertical(each) for each in (before, points)]
    room_was, room_now = (
        ((each[_BELOW_LIP, :2] - each[_LIP_OUTLINE, :2]) @ down) / scale
        for each, down, scale in zip((before, points), downs, scales, strict=True)
    )
    lacking = np.maximum(_LEAST_ROOM * room_was - room_now, 0)
    if not lacking.any():
        return points
    down, now = downs
    across = np.array([down[1], -down[0]], np.float32)
    along, height = (before[:NUM_MESH_POINTS, :2] @ axis for axis in (across, down))
    lip = _followed(along, _LIP_OUTLINE, height[_LIP_OUTLINE])
    depth = (height - lip) / np.maximum(height[CHIN] - lip, 1e-3)  # 0 at the lip, 1 at the chin
    first = np.clip(_followed(along, _BELOW_LIP, depth[_BELOW_LIP]), 0, 0.9)
    push = _followed(along, _BELOW_LIP, lacking, beyond=0.0)
    push *= np.where(depth > 0, np.clip((1 - depth) / (1 - first), 0, 1), 0)
    push[_LIP_OUTLINE] = 0
    pushed = points.copy()
    pushed[:NUM_MESH_POINTS, :2] += (push * scales[1])[:, None] * now
    return pushed


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
    unseen = max(1 - _ramp(open_was, _UNSEEN), _shut(before, after, scales))
    weight = np.maximum(beyond * stretch, unseen).reshape(-1, 1)
    width = float(np.linalg.norm(after[UPPER_LIP[0]] - after[UPPER_LIP[-1]])) / scales[1]
    colours = _deepened(_looked_up(interior, open_now, width), open_now, width)
    shown = between_lips(after)
    places = relief_places(shown.reshape(*MOUTH_SHAPE, 3), after, scales[1])
    teeth = np.dstack([places, np.float32(unseen) * tooth_share(colours @ LUMA)])
    return Mouth(
        shown=shown,
        read=np.asarray((upper + share * (lower - upper)).reshape(-1, 2), np.float32),
        paint=np.concatenate([weight, weight * colours.reshape(-1, 3)], 1).astype(np.float32),
        teeth=teeth.reshape(-1, 3),
    )


def skin_colour(portrait: ImageU8, points: Points3) -> Colour:
    """The median colour of cheeks and forehead."""
    at = np.rint(points[list(SKIN), :2] - 0.5).astype(int)
    height, width = portrait.shape[:2]
    columns, rows = np.clip(at, 0, [width - 1, height - 1]).T
    return np.asarray(np.median(portrait[rows, columns], axis=0), np.float32)


def cast_of(skin: Colour) -> Colour:
    """How much of red, green and blue a skin's colour has, of what a usual one has at its luma."""
    return np.asarray(np.maximum(skin, 1.0) / _luma(skin) / _USUAL_CAST, np.float32)


def paint_colour(skin: Colour) -> Colour:
    """The colour that shares of an inside are of: the skin's, less what is no work of light."""
    cast = cast_of(skin) ** (-_saturation(skin) * _OWN_CAST)
    return np.asarray((_USUAL_LUMA / _luma(skin)) ** _OWN_TONE * cast * skin, np.float32)


def tint(skin: Colour) -> Float32[NDArray[np.float32], "3 3"]:
    """The matrix from shares of `paint_colour` to colours; a grey skin's mouth is grey."""
    colour = _saturation(skin)
    mixed = colour * np.eye(3, dtype=np.float32) + (1 - colour) * LUMA
    return np.asarray(paint_colour(skin)[:, None] * mixed, np.float32)


def plain_interior() -> MouthInterior:
    """An inside that is dark, for head models that have learned none."""
    return np.full(INTERIOR_SHAPE, _DARKNESS, np.float32)


def hung(inside: Inside, was: float, now: float) -> Inside:
    """The inside of a mouth when that is open otherwise: each half keeps its distance to its lip.

    Teeth hang from their jaws: they neither grow nor move when the lips part.

    Args:
        inside: of a mouth that is open by `was`.
        was: the gap between the lips [head units].
        now: likewise, to be.
    """
    below = _HEIGHTS * now
    upper = np.minimum(below / max(was, _LEAST_GAP), 0.5)
    lower = np.maximum(1 - (now - below) / max(was, _LEAST_GAP), 0.5)
    at = np.where(_HEIGHTS <= 0.5, upper, lower) * (len(inside) - 1)
    low = np.minimum(at.astype(int), len(inside) - 2)
    part = (at - low)[:, None, None].astype(np.float32)
    return np.asarray(inside[low] + part * (inside[low + 1] - inside[low]), np.float32)


def _gaps(points: Points3, scale: float) -> Column:
    """How far the lips are apart in each column [head units]."""
    upper, lower = (_SPREAD @ points[list(lip)] for lip in (UPPER_LIP, LOWER_LIP))
    return np.asarray(np.linalg.norm(lower - upper, axis=-1) / scale, np.float32)


def _seen_gap(points: Points3, scale: float) -> float:
    """How far the lips are apart in the picture, in the middle [head units]."""
    upper, lower = (_SPREAD[MIDDLE] @ points[list(lip), :2] for lip in (UPPER_LIP, LOWER_LIP))
    return float(np.linalg.norm(lower - upper, axis=-1).mean()) / scale


def _shut(before: Points3, after: Points3, scales: tuple[float, float]) -> float:
    """1 of a mouth that has closed to a line, 0 of one that shows what the portrait's does."""
    was, now = (_seen_gap(p, s) for p, s in zip((before, after), scales, strict=True))
    narrowed = _ramp(now / max(was, _LEAST_GAP), _NARROWED)
    return (1 - _ramp(now, _SHUT)) * (1 - narrowed)


def _followed(
    along: Float32[NDArray[np.float32], " points"],
    row: list[int],
    values: Column,
    beyond: float | None = None,
) -> Float32[NDArray[np.float32], " points"]:
    """Values of a row of points, continued from one to the next: at each point of the mesh."""
    columns = along[row]
    order = np.argsort(columns)
    found = np.interp(along, columns[order], values[order], left=beyond, right=beyond)
    return np.asarray(found, np.float32)


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


def _looked_up(interior: MouthInterior, gap: float, width: float) -> Inside:
    """The inside of mouths open so far and so wide."""
    low, part = _between(width, MOUTH_WIDTHS)
    wide = interior[:, low] + part * (interior[:, low + 1] - interior[:, low])
    low, part = _between(gap, MOUTH_GAPS)
    less, more = (hung(wide[n], MOUTH_GAPS[n], gap) for n in (low, low + 1))
    return np.asarray(less + part * (more - less), np.float32)


def _deepened(inside: Inside, gap: float, width: float) -> Inside:
    """The same with less light behind the teeth, which keep theirs; a smile shows nothing behind.

    Insides are learned from talk before cameras: lit from the front, and with lifted blacks.
    """
    shade = np.clip(inside / _LIT, _DEEPEST, 1)
    smile = _ramp(width, _SMILING) * (1 - _ramp(gap, _LAUGHING))
    return np.asarray(inside * (shade + smile * (1 - shade)), np.float32)


def _between(value: float, nodes: tuple[float, ...]) -> tuple[int, np.float32]:
    """The node below a value, and how far it is on the way to the next."""
    at = float(np.interp(value, nodes, np.arange(len(nodes))))
    low = min(int(at), len(nodes) - 2)
    return low, np.float32(at - low)


def _saturation(skin: Colour) -> np.float32:
    """How colourful a skin is, 1 at most, which usual skin is."""
    saturation = float(skin.max() - skin.min()) / max(float(skin.max()), 1.0)
    return np.float32(min(saturation / _FULL_COLOUR, 1.0))


def _luma(skin: Colour) -> float:
    return max(float(skin @ LUMA), 1.0)


def _ramp(value: float, reach: tuple[float, float]) -> float:
    return float(np.clip((value - reach[0]) / (reach[1] - reach[0]), 0, 1))
