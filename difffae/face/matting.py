"""The person out of a picture: a soft matte, and the person's colours free of the background's.

Segmentation says roughly where the person is. Along its border, colour says more: each pixel there
is a mixture of the person's colour nearby and the background's.
"""

import cv2
import numpy as np

from difffae.arrays import ImageU8, MaskF32, ShadingF32

_WORKING_PX = 1024  # longer side at which mattes are made
_INNER_SHARE = 0.012  # of the longer side: how far inside the border a pixel may be a mixture
_OUTER_SHARE = 0.025  # and outside of it: loose hair
_NEAR_SHARE, _WIDE_SHARE = 0.03, 0.12  # where "nearby" colours are averaged
_SURE = (0.05, 0.95)
_CONTRAST = 28.0  # distance of both colours at which they say as much as the segmentation [of 255]
_SPREAD_WEIGHT = 4.0  # how much a restless background counts against colour
_SMOOTHING = (0.003, 1e-4)  # of the guided filter: share of the longer side, variance
_LEVELS = (0.06, 0.94)  # less is background, more is person
_BLUR_SHARES = (0.09, 0.006)  # of the longer side: windows of the two rounds of blur fusion
_LEAST = 1e-3

Colours = ShadingF32


def refine_matte(image: ImageU8, coarse: MaskF32) -> MaskF32:
    """A matte that follows the picture's edges and hair.

    Args:
        image: the picture.
        coarse: the segmentation of it, soft.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, _WORKING_PX / max(height, width))
    size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if shrink < 1 else image
    guess = cv2.resize(coarse, size, interpolation=cv2.INTER_AREA) if shrink < 1 else coarse
    matte = _refined(np.asarray(small, np.float32), np.asarray(guess, np.float32))
    if shrink < 1:
        matte = np.asarray(cv2.resize(matte, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.clip(matte, 0, 1).astype(np.float32)


def foreground_colours(image: ImageU8, matte: MaskF32) -> ImageU8:
    """The person's own colours at every pixel; where there is no person, those nearby.

    Blur fusion in two rounds (Forte 2021, arXiv 2006.14970, section 3).
    """
    colours = image.astype(np.float32)
    alpha = matte[..., None]
    own = behind = colours
    for share in _BLUR_SHARES:
        window = _odd(share * max(image.shape[:2]))
        near = _mean_where(own, matte, window)
        around = _mean_where(behind, 1 - matte, window)
        own = np.clip(near + alpha * (colours - alpha * near - (1 - alpha) * around), 0, 255)
        behind = around
    mixed = own * alpha + (1 - alpha) * _nearby(own, matte)
    return np.asarray(np.rint(mixed), np.uint8)


def _refined(image: Colours, coarse: MaskF32) -> MaskF32:
    side = max(coarse.shape)
    inner, outer = _odd(2 * _INNER_SHARE * side), _odd(2 * _OUTER_SHARE * side)
    is_person = cv2.erode((coarse > _SURE[1]).astype(np.float32), np.ones((inner, inner)))
    near_person = cv2.dilate((coarse > _SURE[0]).astype(np.float32), np.ones((outer, outer)))
    is_empty = np.asarray(1 - near_person, np.float32)
    own = _nearby(image, np.asarray(is_person, np.float32))
    behind = _nearby(image, is_empty)
    axis = own - behind
    distance = (axis**2).sum(-1)
    share = ((image - behind) * axis).sum(-1) / np.maximum(distance, _LEAST)
    unrest = _SPREAD_WEIGHT * (_spread_of(image, behind, is_empty))
    trust = distance / (distance + _CONTRAST**2 + unrest)
    mixed = trust * np.clip(share, 0, 1) + (1 - trust) * coarse
    matte = np.where(is_person > 0, 1, np.where(is_empty > 0, 0, mixed)).astype(np.float32)
    radius = max(1, round(_SMOOTHING[0] * side))
    smooth = cv2.ximgproc.guidedFilter(image / 255, matte, radius, _SMOOTHING[1])
    return np.clip((smooth - _LEVELS[0]) / (_LEVELS[1] - _LEVELS[0]), 0, 1).astype(np.float32)


def _spread_of(image: Colours, mean: Colours, weight: MaskF32) -> MaskF32:
    """Local squared distance of the weighted colours from their local mean."""
    squared = ((image - mean) ** 2).sum(-1, keepdims=True).repeat(3, -1)
    return np.asarray(_nearby(squared, weight)[..., 0], np.float32)


def _nearby(image: Colours, weight: MaskF32) -> Colours:
    """Mean colours where the weight is, from nearby, else from further away."""
    side = max(weight.shape)
    wide = _mean_where(image, weight, _odd(2 * _WIDE_SHARE * side))
    window = _odd(2 * _NEAR_SHARE * side)
    found = np.clip(8 * cv2.blur(weight, (window, window)), 0, 1)[..., None]
    return np.asarray(found * _mean_where(image, weight, window) + (1 - found) * wide, np.float32)


def _mean_where(colours: Colours, weight: MaskF32, window: int) -> Colours:
    """Windowed mean of the colours, weighted; where nothing has weight, that of all the picture."""
    total = cv2.blur(weight, (window, window))[..., None]
    summed = cv2.blur(colours * weight[..., None], (window, window))
    everywhere = (colours * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), _LEAST)
    return np.asarray(np.where(total > _LEAST, summed / np.maximum(total, _LEAST), everywhere))


def _odd(value: float) -> int:
    return 2 * max(round(value / 2), 1) + 1
