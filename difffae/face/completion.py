"""What may lie behind: a hole in a picture filled with patches of what is around it.

On a small picture the hole is filled from its border inwards, where lines run into it first, each
time with the patch that fits best (Criminisi, Pérez and Toyama 2004, doi 10.1109/TIP.2004.833105).
On larger ones every patch over the hole looks for one that is more like it (PatchMatch, Barnes et
al. 2009, doi 10.1145/1531326.1531330), and each pixel becomes the mean of what the patches over it
say (Wexler, Shechtman and Irani 2007, doi 10.1109/TPAMI.2007.60). The same picture is always
filled alike.
"""

from dataclasses import dataclass

import cv2
import numba
import numpy as np
from jaxtyping import Int32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MaskF32, MaskU8, ShadingF32
from difffae.face.region_filling import FULL, LEVEL_COST, RADIUS, Field, fill_region

_SIDE = 2 * RADIUS + 1
_SIDES_PX = (64, 128, 256)  # longer sides of the pictures; the last is enlarged for larger ones
_REACHES_PX = ((), (64, 4), (0,))  # how far to search in each round; then comes a vote
_TOLERANCE = 15.0  # RMS difference of patches [of 255] at which one counts for much less
_FADE = 0.85  # of the trust in what is guessed, a pixel further from what is known
_FEWEST = 64  # patches to choose from, else there is nothing to tell

Places = Int32[NDArray[np.int32], "places 2"]


@dataclass(frozen=True, kw_only=True)
class _Level:
    """A picture's hole at one size.

    Attributes:
        hole: 1 in it.
        trust: 1 outside the hole, less and less inside.
        is_target: 1 where a patch has a pixel in the hole.
        is_source: 1 where a whole patch is known.
        sources: these places.
    """

    hole: MaskU8
    trust: MaskF32
    is_target: MaskU8
    is_source: MaskU8
    sources: Places


def warm_up() -> None:
    """Have the compiled loops ready before the first portrait."""
    hole = np.zeros((_SIDES_PX[1], _SIDES_PX[1]), np.uint8)
    hole[:_SIDE, :_SIDE] = 1
    complete(np.zeros((*hole.shape, 3), np.uint8), hole)


def complete(image: ImageU8, hole: MaskU8) -> ImageU8:
    """Fill a hole with what may be there.

    Args:
        image: any size.
        hole: not 0 where the picture is not to be used; of its size.

    Returns:
        The picture, with other colours in the hole alone. Where too little is known around it
        they are smooth.
    """
    if not hole.any():
        return image
    height, width = image.shape[:2]
    guess: ShadingF32 | None = None
    field: Field | None = None
    for side, reaches in zip(_SIDES_PX, _REACHES_PX, strict=True):
        scale = min(side / max(height, width), 1.0)
        size = (round(width * scale) or 1, round(height * scale) or 1)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        level = _level(hole, size)
        if len(level.sources) < _FEWEST:
            continue
        if guess is None or field is None:
            guess, field = fill_region(small, level.hole)
            field = _usable(field, level)
        else:
            enlarged = cv2.resize(guess, size, interpolation=cv2.INTER_CUBIC)
            guess = np.where(level.hole[..., None] > 0, enlarged, small)
            field = _enlarged(field, level)
        _improve(guess, field, level, reaches)
    if guess is None:
        return np.asarray(cv2.inpaint(image, hole, 3, cv2.INPAINT_TELEA), np.uint8)
    enlarged = cv2.resize(guess, (width, height), interpolation=cv2.INTER_CUBIC)
    filled = np.clip(np.rint(enlarged), 0, 255).astype(np.uint8)
    return np.where(hole[..., None] > 0, filled, image)


def _level(hole: MaskU8, size: tuple[int, int]) -> _Level:
    share = cv2.resize((hole > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = (share > 0.02).astype(np.uint8)
    patch = np.ones((_SIDE, _SIDE), np.uint8)
    is_target = np.asarray(cv2.dilate(small, patch), np.uint8)
    inner = np.zeros_like(small)
    inner[RADIUS:-RADIUS, RADIUS:-RADIUS] = 1
    is_source = inner * (1 - is_target)
    depth = cv2.distanceTransform(small, cv2.DIST_L2, 3)
    return _Level(
        hole=small,
        trust=np.asarray(_FADE**depth, np.float32),
        is_target=is_target,
        is_source=is_source,
        sources=np.argwhere(is_source).astype(np.int32),
    )


def _enlarged(field: Field, level: _Level) -> Field:
    """A coarser level's field at this level: the same way to go."""
    height, width = level.hole.shape
    scale = np.array([height / field.shape[0], width / field.shape[1]])
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    coarse = np.minimum((places / scale).astype(int), np.array(field.shape[:2]) - 1)
    way = field[coarse[..., 0], coarse[..., 1]] - coarse
    found = np.clip(places + np.rint(way * scale).astype(int), 0, [height - 1, width - 1])
    return _usable(found.astype(np.int32), level)


def _usable(field: Field, level: _Level) -> Field:
    """The same where it names a source for a target, else -1."""
    is_source = (field[..., 0] >= 0) & (level.is_source[field[..., 0], field[..., 1]] > 0)
    keep = is_source & (level.is_target > 0)
    return np.where(keep[..., None], field, -1).astype(np.int32)


def _improve(image: ShadingF32, field: Field, level: _Level, reaches: tuple[int, ...]) -> None:
    """Search and vote in turn; changes the image's hole and the field."""
    if any(reaches):  # no target is left without a patch to begin with
        chosen = np.random.default_rng(0).integers(len(level.sources), size=level.hole.shape)
        is_lost = (level.is_target > 0) & (field[..., 0] < 0)
        field[is_lost] = level.sources[chosen][is_lost]
    border = ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0))
    padded = np.pad(image, border)
    trust = np.maximum(np.rint(FULL * level.trust), 1).astype(np.int32)
    around = np.ones((_SIDE, _SIDE))
    weights = 3 * cv2.filter2D(trust.astype(float), -1, around, borderType=cv2.BORDER_CONSTANT)
    by_channel = np.pad(np.repeat(trust[..., None], 3, -1), border)
    costs = np.zeros(level.hole.shape)
    within = padded[RADIUS:-RADIUS, RADIUS:-RADIUS]
    for reach in reaches:
        whole = np.rint(np.clip(padded, 0, 255)).astype(np.int32)
        rows = tuple(values.reshape(len(padded), -1) for values in (whole, by_channel))
        for step in (1, -1) if reach > 0 else ():
            _search((*rows, weights), (field, costs), level.is_source, step, reach)
        votes = _votes(padded, field, level.trust, costs)[RADIUS:-RADIUS, RADIUS:-RADIUS]
        is_told = (level.hole > 0) & (votes[..., 3] > 0)
        within[is_told] = votes[is_told, :3] / votes[is_told, 3:]
    image[:] = within


@numba.njit(cache=True, nogil=True)
def _search(rows, best, is_source, step, reach):  # type: ignore[no-untyped-def]
    """One sweep, from the top left or back: as the neighbours go, then at random around that.

    A sweep from the top left begins by rating what there is.
    """
    field, costs = best
    height, width = costs.shape
    np.random.seed(reach)
    for a in range(height * width):
        place = a if step > 0 else height * width - 1 - a
        i, j = place // width, place % width
        if field[i, j, 0] < 0:
            continue
        if step > 0:
            costs[i, j] = _cost(rows, (i, j), (field[i, j, 0], field[i, j, 1]), np.inf)
        for row, column in ((i - step, j), (i, j - step)):
            if 0 <= row < height and 0 <= column < width and field[row, column, 0] >= 0:
                there = (field[row, column, 0] + i - row, field[row, column, 1] + j - column)
                _try(rows, best, is_source, (i, j), there)
        far = reach
        while far >= 1:
            y = field[i, j, 0] + np.random.randint(-far, far + 1)
            x = field[i, j, 1] + np.random.randint(-far, far + 1)
            _try(rows, best, is_source, (i, j), (y, x))
            far //= 4


@numba.njit(cache=True, nogil=True)
def _try(rows, best, is_source, here, there):  # type: ignore[no-untyped-def]
    field, costs = best
    height, width = costs.shape
    y, x = there
    if 0 <= y < height and 0 <= x < width and is_source[y, x] > 0:
        cost = _cost(rows, here, there, costs[here])
        if cost < costs[here]:
            costs[here] = cost
            field[here[0], here[1], 0], field[here[0], here[1], 1] = y, x


@numba.njit(cache=True, nogil=True)
def _cost(rows, here, there, enough):  # type: ignore[no-untyped-def]
    """Mean squared difference of two patches, by trust; infinite once it is more than enough.

    Whole numbers have the same sum in every order: compiled alone or within its caller, for any
    processor, the same patch is found.
    """
    image, trust, weights = rows
    away = LEVEL_COST * (there[0] - here[0]) / len(image)
    total, limit = np.int32(0), (enough - away * away) * weights[here]
    for dy in range(_SIDE):
        part = np.int32(0)
        for k in range(3 * _SIDE):
            value = image[here[0] + dy, 3 * here[1] + k]
            difference = np.int32(value - image[there[0] + dy, 3 * there[1] + k])
            part += np.int32(trust[here[0] + dy, 3 * here[1] + k] * difference * difference)
        total += part
        if total > limit:
            return np.inf
    return total / weights[here] + away * away


@numba.njit(cache=True, nogil=True)
def _votes(padded, field, trust, costs):  # type: ignore[no-untyped-def]
    """What the patches over each pixel say of it, summed by how much they count; and these."""
    height, width = costs.shape
    sums = np.zeros((padded.shape[0], padded.shape[1], 4), np.float32)
    for row in range(height):
        for column in range(width):
            y, x = field[row, column]
            if y < 0:
                continue
            counts = np.float32(np.exp(-costs[row, column] / (2 * _TOLERANCE**2)))
            counts = trust[row, column] * counts + np.float32(1e-6)
            for dy in range(_SIDE):
                for dx in range(_SIDE):
                    for channel in range(3):
                        value = padded[y + dy, x + dx, channel]
                        sums[row + dy, column + dx, channel] += counts * value
                    sums[row + dy, column + dx, 3] += counts
    return sums
