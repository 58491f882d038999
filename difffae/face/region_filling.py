"""A hole filled with patches of the same picture, where lines run into it first.

Criminisi, Pérez and Toyama 2004, doi 10.1109/TIP.2004.833105. Whole numbers alone decide, which
have the same sum in every order: the same hole is filled alike however the loops are compiled.
"""

import cv2
import numba
import numpy as np
from jaxtyping import Int32
from numpy.typing import NDArray

from difffae.arrays import MaskU8, ShadingF32

RADIUS = 3  # of patches [px]
LEVEL_COST = 40.0  # what fetching from as far above or below as the picture is high costs [of 255]
FULL = 128  # trust in a known pixel where patches are compared by whole numbers
_SURE = 1024  # the same while the hole is filled: trust in what is filled in becomes small
_NO_LINE = 15  # how much a place without a line running into the hole is worth [of 255]
_UNIT = 16  # length of directions as whole numbers
_SOBEL_SUM = 24  # of one side of the kernel, over three colours
_across, _down = np.meshgrid(np.arange(5), np.arange(5))
_SHARES = np.rint(_UNIT * _across / np.maximum(np.hypot(_across, _down), 1)).astype(np.int32)
"""Of a direction (down, across), each up to 4 long: `across` where the whole is 16 long."""

Field = Int32[NDArray[np.int32], "h w 2"]  # row and column of where a pixel's colour is from


def fill_region(image: ShadingF32, hole: MaskU8) -> tuple[ShadingF32, Field]:
    """Fill a hole from its border inwards.

    Args:
        image: colours in 0 to 255, at least as large as a patch; some whole patch is known.
        hole: 1 where the picture is not to be used.

    Returns:
        The picture, and where the colours in the hole came from; -1 outside of it.
    """
    height, width = hole.shape
    filled, field = image.copy(), np.full((height, width, 2), -1, np.int32)
    whole = np.rint(np.clip(image, 0, 255)).astype(np.int32).reshape(height, -1)
    sure = _SURE * (1 - hole).astype(np.int32)
    _fill((filled, field, whole), hole.copy(), cv2.integral(hole), sure, _SHARES)
    return filled, field


@numba.njit(cache=True, nogil=True)
def _fill(pictures, hole, missing, sure, shares):  # type: ignore[no-untyped-def]
    """Copy, again and again, the patch that fits best to where it matters most."""
    filled, field, whole = pictures
    height, width = hole.shape
    slopes = np.zeros((height, width, 2), np.int32)
    _find_slopes(slopes, whole, hole, (0, height, 0, width))
    while True:
        row, column = _next(slopes, hole, sure, shares)
        if row < 0:
            return
        top, bottom = max(row - RADIUS, 0), min(row + RADIUS + 1, height)
        left, right = max(column - RADIUS, 0), min(column + RADIUS + 1, width)
        y, x = _most_like(whole, (top, bottom, left, right), (hole, missing), sure)
        trust = np.sum(sure[top:bottom, left:right]) // ((bottom - top) * (right - left))
        for i in range(top, bottom):
            for j in range(left, right):
                if hole[i, j]:
                    there = (y + i - top, x + j - left)
                    filled[i, j] = filled[there]
                    field[i, j, 0], field[i, j, 1] = there
                    for n in range(3):
                        whole[i, 3 * j + n] = whole[there[0], 3 * there[1] + n]
                    sure[i, j], hole[i, j] = trust, 0
        around = (max(top - 1, 0), min(bottom + 1, height), max(left - 1, 0), min(right + 1, width))
        _find_slopes(slopes, whole, hole, around)


@numba.njit(cache=True, nogil=True)
def _find_slopes(slopes, whole, hole, part):  # type: ignore[no-untyped-def]
    """Sobel's across and down of the sum of colours, 0 where not all around is known."""
    height, width = hole.shape
    for i in range(part[0], part[1]):
        for j in range(part[2], part[3]):
            across = down = unknown = 0
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    y, x = min(max(i + dy, 0), height - 1), min(max(j + dx, 0), width - 1)
                    grey = whole[y, 3 * x] + whole[y, 3 * x + 1] + whole[y, 3 * x + 2]
                    across += dx * (2 - abs(dy)) * grey
                    down += dy * (2 - abs(dx)) * grey
                    unknown += hole[y, x]
            slopes[i, j, 0] = 0 if unknown else abs(across)
            slopes[i, j, 1] = 0 if unknown else abs(down)


@numba.njit(cache=True, nogil=True)
def _next(slopes, hole, sure, shares):  # type: ignore[no-untyped-def]
    """The place on the hole's border where much is sure and a line runs in; -1, -1 without one."""
    height, width = hole.shape
    best, row, column = -1, -1, -1
    for i in range(height):
        for j in range(width):
            if not hole[i, j]:
                continue
            across = down = missing = 0
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    y, x = min(max(i + dy, 0), height - 1), min(max(j + dx, 0), width - 1)
                    across += dx * (2 - abs(dy)) * hole[y, x]
                    down += dy * (2 - abs(dx)) * hole[y, x]
                    missing += hole[y, x]
            if missing == 9:
                continue
            upright = level = total = count = 0
            for y in range(max(i - RADIUS, 0), min(i + RADIUS + 1, height)):
                for x in range(max(j - RADIUS, 0), min(j + RADIUS + 1, width)):
                    total, count = total + sure[y, x], count + 1
                    upright, level = max(upright, slopes[y, x, 0]), max(level, slopes[y, x, 1])
            line = upright * shares[abs(across), abs(down)] + level * shares[abs(down), abs(across)]
            value = total * (line + _SOBEL_SUM * _UNIT * _NO_LINE) // count
            if value > best:
                best, row, column = value, i, j
    return row, column


@numba.njit(cache=True, nogil=True)
def _most_like(whole, patch, places, sure):  # type: ignore[no-untyped-def]
    """Top and left of the known patch that is most like what is known of this one."""
    hole, missing = places
    top, bottom, left, right = patch
    rows, columns = bottom - top, right - left
    weights = _weights(hole[top:bottom, left:right], sure[top:bottom, left:right])
    weight = max(np.sum(weights), 1)
    best, y, x = np.inf, 0, 0
    for i in range(hole.shape[0] - rows + 1):
        away = LEVEL_COST * (i - top) / hole.shape[0]
        for j in range(hole.shape[1] - columns + 1):
            above = missing[i, j + columns] - missing[i, j]
            if missing[i + rows, j + columns] - missing[i + rows, j] == above:
                limit = (best - away * away) * weight
                total = _difference(whole, weights, (top, left), (i, j), limit)
                if total < limit:
                    best, y, x = total / weight + away * away, i, j
    return y, x


@numba.njit(cache=True, nogil=True)
def _weights(hole, sure):  # type: ignore[no-untyped-def]
    """What each colour of a patch counts: squared trust, 0 where it is not known."""
    out = np.zeros((hole.shape[0], 3 * hole.shape[1]), np.int32)
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            if not hole[i, k // 3]:
                trust = sure[i, k // 3]
                out[i, k] = max(trust * trust * FULL // (_SURE * _SURE), 1)
    return out


@numba.njit(cache=True, nogil=True)
def _difference(whole, weights, here, there, limit):  # type: ignore[no-untyped-def]
    """Weighted sum of squared differences of two patches, at least the limit if it is no less."""
    total = np.int32(0)
    for dy in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            value = whole[here[0] + dy, 3 * here[1] + k]
            difference = np.int32(value - whole[there[0] + dy, 3 * there[1] + k])
            total += np.int32(weights[dy, k] * difference * difference)
        if total >= limit:
            break
    return total
