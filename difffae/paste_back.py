"""The last step of a frame: generated pixels and the full-size condition, laid into the portrait.

Alpha marks the pixels that the networks made; the rest of the person comes from the portrait at its
own resolution, and what lies away from the person is not touched at all.
"""

from functools import cache, lru_cache

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MaskF32, MaskU8, SquareF32, SquareU8
from difffae.face.blending import lay_over
from difffae.face.crop import CropBox, paste
from difffae.face.layers import Layers, compose
from difffae.face.renderer import Condition
from difffae.generator import Generated

_BORDER_SHARE = 0.06  # of the crop: where the edit fades into the portrait around it
_PERSON_THRESHOLD = 0.05
_LEAST_ALPHA = 0.01
_AROUND_PX = 25  # how far around the person, before and after the motion, pixels are edited
_AROUND_BLUR_PX = 5.0
_MASK_THRESHOLD = 8  # of 255: less edited pixels are left out of the mask


def warm_up() -> None:
    """Have the compiled loops ready before the first real frame."""
    nothing = np.zeros((_AROUND_PX, _AROUND_PX), np.float32)
    black = np.zeros((_AROUND_PX, _AROUND_PX, 3), np.uint8)
    _around(nothing)
    _take_out(np.empty_like(black), black, black, nothing)


def paste_back(
    generated: Generated, condition: Condition, source: MaskF32, layers: Layers
) -> tuple[SquareU8, SquareF32]:
    """The edited crop at the layers' size, and how much of each of its pixels is edited.

    Args:
        generated: what the networks made, at the model's size.
        condition: what they were shown.
        source: the person's mask in the source crop, at the model's size.
        layers: the crop's layers at their own resolution.
    """
    size = layers.portrait.shape[0]
    if condition.warp is None:  # the networks made all of it
        patch = cv2.resize(generated.image, (size, size), interpolation=cv2.INTER_CUBIC)
        return np.asarray(patch, np.uint8), np.ones((size, size), np.float32)
    edited = _around(np.maximum(condition.person_mask, source))
    if condition.hidden is not None:
        edited = np.maximum(edited, condition.hidden)
    if size == generated.image.shape[0]:
        return generated.image, edited
    full, _ = compose(layers, condition.warp)
    own = np.asarray(cv2.resize(_own_pixels(generated, condition), (size, size)), np.uint8)
    alpha = _enlarged(_painted(generated.alpha, condition), size)
    lay_over(full, own, alpha)
    return full, _enlarged(edited, size)


def lay_into(
    image: ImageU8, patch: SquareU8, edited: SquareF32, box: CropBox
) -> tuple[ImageU8, MaskU8]:
    """The portrait with the edited crop in it, and 255 where its pixels were edited."""
    size = round(box.size)
    if patch.shape[0] != size:
        patch = np.asarray(cv2.resize(patch, (size, size), interpolation=cv2.INTER_CUBIC))
        edited = _enlarged(edited, size)
    weight = edited * border_weight(box, image.shape[0], image.shape[1])
    mask = np.zeros(image.shape[:2], np.uint8)
    left, top = round(box.left), round(box.top)
    is_edited = weight > _MASK_THRESHOLD / 255
    mask[top : top + size, left : left + size] = is_edited.view(np.uint8) * np.uint8(255)
    return paste(image, patch, weight, box), mask


def _own_pixels(generated: Generated, condition: Condition) -> ImageU8:
    """What the networks painted, before the condition was mixed in; any colour elsewhere.

    Where the condition is hidden there is nothing that could be taken out again.
    """
    own = np.empty_like(generated.image)
    alpha = _painted(generated.alpha, condition)
    _take_out(own, generated.image, condition.composite, alpha)
    return own


@numba.njit(cache=True, nogil=True)
def _take_out(out, mixed, shown, alpha):  # type: ignore[no-untyped-def]
    """Row by row, over all of its colours alike."""
    one, least, highest = np.float32(1), np.float32(_LEAST_ALPHA), np.float32(255)
    width = alpha.shape[1]
    rests, gains = np.empty(3 * width, np.float32), np.empty(3 * width, np.float32)
    for row in range(len(alpha)):
        for column in range(width):
            share = alpha[row, column]
            for n in range(3):
                rests[3 * column + n] = one - share
                gains[3 * column + n] = one / max(share, least)
        own, given, taken = out[row].reshape(-1), mixed[row].reshape(-1), shown[row].reshape(-1)
        for k in range(3 * width):
            value = gains[k] * (np.float32(given[k]) - rests[k] * np.float32(taken[k]))
            own[k] = np.uint8(np.int32(np.rint(min(max(value, np.float32(0)), highest))))


def _painted(alpha: MaskF32, condition: Condition) -> MaskF32:
    """Whose pixels to show: the networks' wherever they were not shown the portrait's."""
    return alpha if condition.hidden is None else np.maximum(alpha, condition.hidden)


def _around(person: MaskF32) -> MaskF32:
    """1 on the person and its surroundings, falling softly to 0."""
    wide = np.zeros(person.shape, np.float32)
    _widen(wide, person > _PERSON_THRESHOLD, _reaches(_AROUND_PX))
    return np.asarray(cv2.GaussianBlur(wide, (0, 0), _AROUND_BLUR_PX))


@cache
def _reaches(size: int) -> NDArray[np.uint8]:
    """How far a disc reaches to either side, row by row [px].

    Args:
        size: its width [px], odd.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(disc.sum(1) // 2, np.uint8)


@numba.njit(cache=True, nogil=True)
def _widen(out, inside, reaches):  # type: ignore[no-untyped-def]
    """1 where a disc around the pixel meets what is inside; OpenCV's dilation takes thrice as long.

    First each pixel's distance to the nearest one inside of its row, then the rows of the disc.
    """
    height, width = inside.shape
    near = np.empty((height, width), np.uint8)
    found = np.empty(width, np.uint8)
    for row in range(height):
        left = right = 255
        for column in range(width):
            left = 0 if inside[row, column] else min(left + 1, 255)
            near[row, column] = left
        for column in range(width - 1, -1, -1):
            right = 0 if inside[row, column] else min(right + 1, 255)
            near[row, column] = min(near[row, column], right)
    for row in range(height):
        found[:] = 0
        for k in range(len(reaches)):
            other, reach = row + k - len(reaches) // 2, reaches[k]
            if 0 <= other < height:
                for column in range(width):
                    found[column] |= np.uint8(near[other, column] <= reach)
        for column in range(width):
            out[row, column] = found[column]


def _enlarged(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(values, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


@lru_cache(maxsize=16)
def border_weight(box: CropBox, height: int, width: int) -> SquareF32:
    """1 inside the crop, falling to 0 at those of its borders that are not the portrait's own."""
    size = round(box.size)
    ramp = np.clip((np.arange(size, dtype=np.float32) + 0.5) / max(_BORDER_SHARE * size, 1), 0, 1)
    whole = np.ones_like(ramp)
    across = np.where(box.left > 0, ramp, whole)
    across = across * np.where(box.left + box.size < width, ramp[::-1], whole)
    down = np.where(box.top > 0, ramp, whole)
    down = down * np.where(box.top + box.size < height, ramp[::-1], whole)
    weight = np.outer(down, across).astype(np.float32)
    weight.setflags(write=False)  # it is kept
    return weight
