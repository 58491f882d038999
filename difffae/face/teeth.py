"""Where one tooth ends and the next begins: a relief on what is painted between lips.

The mean inside of many mouths (`difffae.face.mouth`) has the right levels, but teeth in it are one
white band, as those of many people stand in many places. Laid over each other tooth by tooth they
show what all have: two incisors, those beside them, canines. Teeth keep their size and their place
in the skull, whatever the lips do.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from difffae.arrays import PaintF32, Points3
from difffae.face.facemesh import CHEEKS, LOWER_LIP, UPPER_LIP, TeethRelief, vertical

TEETH_SHAPE = (20, 97)  # points from the upper lip down, and from side to side
TEETH_WIDTHS = np.linspace(-0.6, 0.6, TEETH_SHAPE[1])  # from the face's middle [head units]
TEETH_HEIGHTS = np.linspace(0, 0.24, TEETH_SHAPE[0])  # below the upper lip [head units]
_NOSE_BASE = 2
_TOOTH = (0.45, 0.65)  # luma over that of skin: of what is no tooth .. of what is one

MouthGrid = Float32[NDArray[np.float32], "rows columns 3"]


def tooth_share(luma: Float32[NDArray[np.float32], "rows columns"]) -> NDArray[np.float32]:
    """How much of an inside is a tooth, by its luma as a share of the skin's."""
    return np.asarray(np.interp(luma, _TOOTH, (0, 1)), np.float32)


def relief_places(
    grid: MouthGrid, points: Points3, scale: float
) -> Float32[NDArray[np.float32], "rows columns 2"]:
    """Where in a relief the points between the lips read: column and row.

    Args:
        grid: the points, from the upper lip down [px].
        points: of the mesh [px].
        scale: pixels per head unit.
    """
    aside = _aside(grid, points, scale)
    below = np.linalg.norm(grid - grid[:1], axis=-1) / scale
    column = (aside - TEETH_WIDTHS[0]) / (TEETH_WIDTHS[1] - TEETH_WIDTHS[0])
    row = below / TEETH_HEIGHTS[1]
    return np.asarray(np.stack([column, row], -1), np.float32)


def picture_places(
    points: Points3, scale: float
) -> tuple[Float32[NDArray[np.float32], "rows columns 2"], Bool[NDArray[np.bool_], "rows columns"]]:
    """Where in the picture a relief's points are [px], and whether that is between the lips."""
    down = vertical(points)
    (across, upper), (beside, lower) = (
        (_aside(points[list(lip)], points, scale), points[list(lip), :2])
        for lip in (UPPER_LIP, LOWER_LIP)
    )
    order, other = np.argsort(across), np.argsort(beside)
    lip = np.stack([np.interp(TEETH_WIDTHS, across[order], upper[order, k]) for k in range(2)], -1)
    ends = np.interp(TEETH_WIDTHS, beside[other], lower[other] @ down)
    gaps = (ends - lip @ down) / scale
    is_between = (across.min() < TEETH_WIDTHS) & (across.max() > TEETH_WIDTHS)
    places = lip + scale * TEETH_HEIGHTS[:, None, None] * down
    return places.astype(np.float32), (TEETH_HEIGHTS[:, None] < gaps) & is_between


def relieved(
    paint: PaintF32, teeth: Float32[NDArray[np.float32], "h w 3"], relief: TeethRelief
) -> PaintF32:
    """What is painted between the lips, tooth by tooth.

    Args:
        paint: see `difffae.face.mouth.Mouth.paint`.
        teeth: see `difffae.face.mouth.Mouth.teeth`.
        relief: logarithm of a tooth's luma over that of all around it.
    """
    places, no_map = np.ascontiguousarray(teeth[..., :2]), np.empty(0, np.float32)
    depth = cv2.remap(relief, places, no_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    carved = paint.copy()
    carved[..., 1:] *= np.exp(depth * teeth[..., 2])[..., None]
    return carved


def _aside(places: NDArray[np.float32], points: Points3, scale: float) -> NDArray[np.float32]:
    """How far places are from the middle of the face, to the picture's right [head units]."""
    across = points[CHEEKS[1]] - points[CHEEKS[0]]
    across /= max(float(np.linalg.norm(across)), 1e-6)
    return np.asarray((places - points[_NOSE_BASE]) @ across / scale, np.float32)
