"""What a face looked like when it was last found: while that stays, it has not moved.

Asked again about the same picture, a tracker answers a little differently, as it looks where the
last answer was. A driver who stands still would make the portrait tremble.
"""

from dataclasses import dataclass

import cv2

from difffae.arrays import ImageU8, Points3
from difffae.face.crop import box_around

_AROUND = 1.3  # side of what is compared / larger side of the face mesh
_MOST_CHANGE = 5.0  # of any pixel: as much VP8 makes of a picture that stands still [of 255]
_MOST_SHARE = 0.15  # of the face's contrast: in the dark little change is motion too


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """The part of a frame in which a face was found.

    Attributes:
        frame_shape: of the whole frame.
        top, left: where the part begins [px].
        pixels: of the part; a copy, since cameras' frames lie where the next ones will.
        tolerance: how much a pixel may differ while nothing has moved [of 255].
    """

    frame_shape: tuple[int, ...]
    top: int
    left: int
    pixels: ImageU8
    tolerance: float


def glimpse_of(frame: ImageU8, points: Points3) -> Glimpse:
    """Keep what a face looks like.

    Args:
        frame: it was found in.
        points: of its mesh [px].
    """
    box = box_around(points, factor=_AROUND)
    top, left = max(int(box.top), 0), max(int(box.left), 0)
    bottom, right = max(int(box.top + box.size), 0), max(int(box.left + box.size), 0)
    pixels = frame[top:bottom, left:right].copy()
    contrast = float(cv2.meanStdDev(pixels)[1].mean()) if pixels.size else 0.0
    return Glimpse(
        frame_shape=frame.shape,
        top=top,
        left=left,
        pixels=pixels,
        tolerance=min(_MOST_CHANGE, _MOST_SHARE * contrast),
    )


def looks_the_same(frame: ImageU8, last: Glimpse | None) -> bool:
    """Whether no pixel of the face differs by more than a codec's rounding.

    Args:
        frame: to be looked at.
        last: of the frame in which the face was found; None: in none.
    """
    if last is None or frame.shape != last.frame_shape or not last.pixels.size:
        return False
    height, width = last.pixels.shape[:2]
    now = frame[last.top : last.top + height, last.left : last.left + width]
    change = cv2.absdiff(now, last.pixels)
    return float(change.max()) <= last.tolerance
