"""What lies behind a person: the picture with them painted out, made once per source."""

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MaskF32, MaskU8
from difffae.face.completion import complete

_HOLE_SHARE = 0.05  # of the side: how much wider than the person the hole is, and its soft border
_LEAST_PX = 3
_SMOOTH_PX = 64  # longer side at which a plate without texture is made
_AROUND = np.ones((3, 3), np.uint8)

Plate = UInt8[NDArray[np.uint8], "rows columns 3"]


def background_plate(image: ImageU8, person: MaskF32) -> ImageU8:
    """The picture with the person painted out from what surrounds them.

    Args:
        image: any size.
        person: the person's mask in it.
    """
    hole = _hole(person)
    return _blended(image, complete(image, hole), hole)


def smooth_plate(image: ImageU8, person: MaskF32) -> ImageU8:
    """The same without texture behind the person, a hundred times as fast: for training."""
    height, width = image.shape[:2]
    scale = min(_SMOOTH_PX / max(height, width), 1.0)
    size = (round(width * scale) or 1, round(height * scale) or 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    hole = cv2.resize(_hole(person), size, interpolation=cv2.INTER_NEAREST)
    filled = cv2.inpaint(small, cv2.dilate(hole, _AROUND), 3, cv2.INPAINT_TELEA)
    return enlarged_plate(np.asarray(filled, np.uint8), image, person)


def enlarged_plate(plate: Plate, image: ImageU8, person: MaskF32) -> ImageU8:
    """A plate that was made for a picture, at the size of a larger version of the picture.

    Args:
        plate: of `background_plate`.
        image: the larger picture.
        person: the person's mask in it.
    """
    height, width = image.shape[:2]
    filled = cv2.resize(plate, (width, height), interpolation=cv2.INTER_CUBIC)
    return _blended(image, np.asarray(filled, np.uint8), _hole(person))


def _hole(person: MaskF32) -> MaskU8:
    """Where the person is or may be."""
    reach = _reach(person.shape)
    seen = (person > 0.05).astype(np.uint8)
    return np.asarray(cv2.dilate(seen, np.ones((reach, reach), np.uint8)), np.uint8)


def _reach(shape: tuple[int, ...]) -> int:
    return max(_LEAST_PX, round(_HOLE_SHARE * max(shape)))


def _blended(image: ImageU8, filled: ImageU8, hole: MaskU8) -> ImageU8:
    """What was filled in the hole, with a soft border; the picture elsewhere."""
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), _reach(hole.shape) / 6)[..., None]
    return np.rint(image * (1 - soft) + filled * soft).astype(np.uint8)
