"""How hair, ears and neck follow the head: a ball for the skull, in front of a plate that stays.

The face mesh ends at the hairline. What lies around it is moved as if painted on a ball behind the
face, so that it turns in depth with the head; below the chin the motion fades out along the neck.
A ball's own edge is so steep that a turn would show what lies before it twice. Where it is steeper
than 45 degrees a cone takes its place: no turn of up to 45 degrees folds.
"""

import math
from dataclasses import dataclass

import cv2
import numba
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import MapF32, MaskF32, Points2
from difffae.face.parameters import FaceParameters, matrix

Column = Float32[NDArray[np.float32], " points"]

_BORDER_SHRINK = 4  # the correction around the face is smooth: a quarter of the size is enough
_UNFOLDED = 1.6  # what the correction fades over, in its own lengths: over less, the map turns back


@dataclass(frozen=True, kw_only=True)
class SurroundingsConfig:
    """Where the ball is and how the motion fades, in head units (RMS radius of the face mesh)."""

    depth: float = 1.2  # of the ball's centre behind the face's centre
    radius: float = 1.4
    growth: float = 0.1  # how much of a small growth of the face is not its tracker's error
    certain: float = 0.1  # growth, as a logarithm, from which on most of it is certain
    chin: float = 0.9  # below the face's centre; there the neck begins to bend
    neck: float = (
        0.9  # length over which the motion fades below the chin, for a head that stays in place
    )
    lean: float = (
        1.0  # how much longer for each head unit that the head is shifted: the body leans along
    )
    slope: float = 0.1  # how much lower the bend begins at the sides
    reach: float = 3.6  # from the face's centre; beyond it, over another `fade`, nothing moves
    fade: float = 1.2
    border: float = 0.5  # how far around the face the surroundings go along with its border


def head_map(
    source: FaceParameters, target: FaceParameters, config: SurroundingsConfig, size: int
) -> MapF32:
    """Where in the source crop each pixel around the target's head comes from.

    Args:
        source: the portrait's face, in the crop's pixels.
        target: the face after the motion, likewise.
        config: the ball.
        size: side of the crop [px].
    """
    turn = matrix(source.rotation) @ matrix(target.rotation).T
    growth = float(np.log(target.scale / source.scale))
    doubt = (1 - config.growth) / (1 + (growth / config.certain) ** 2)
    grown = source.scale * np.exp((1 - doubt) * growth)
    down = matrix(target.rotation)[:, 1]
    shift = float(np.linalg.norm(target.translation - source.translation)) / target.scale
    neck = config.neck + config.lean * shift
    out = np.empty((size, size, 2), np.float32)
    centres = np.stack([matrix(face.rotation)[:, 2] * config.depth for face in (target, source)])
    shape = [config.radius, config.chin, neck, config.slope, config.reach, config.fade]
    _fill_map(
        out,
        turn.astype(np.float32),
        centres.astype(np.float32),
        (down[:2] / max(float(np.linalg.norm(down[:2])), 1e-3)).astype(np.float32),
        np.array([*target.translation, grown, *source.translation, source.scale], np.float32),
        np.array(shape, np.float32),
    )
    return out


def follow_border(positions: MapF32, before: Points2, after: Points2, reach: float) -> MapF32:
    """Correct a head map so that it meets the face: no step at the hairline, no second chin.

    What the map misses at the border of the face is spread over the pixels around, the nearest
    border points counting most, and fades with the distance: the further, the more is missed.

    Args:
        positions: the map of `head_map`.
        before: border points of the face in the source crop [px].
        after: the same after the motion.
        reach: distance over which the correction fades, where it is small [px].
    """
    size = positions.shape[0]
    is_inside = ((after > 0) & (after < size)).all(-1, keepdims=True)
    missed = (before - 0.5 - _read_between(positions, after - 0.5)) * is_inside
    after, missed = _denser(after), _denser(missed)
    reaches = np.maximum(reach, _UNFOLDED * np.linalg.norm(missed, axis=1))
    small = _told_around(after, reaches, missed, size)
    return np.asarray(positions + cv2.resize(small, (size, size)), np.float32)


def beside_border(values: Column, after: Points2, reach: float, size: int) -> MaskF32:
    """What border points of the face have, around it: the nearest count most.

    Args:
        values: of the border points.
        after: where they are shown [px].
        reach: distance from which on there is nothing [px].
        size: side of the crop [px].
    """
    reaches, told = (
        np.full(len(values), reach, np.float32),
        np.stack([values, np.ones_like(values)], 1),
    )
    small = _told_around(after, reaches, told, size)
    value, near = small[..., 0], np.maximum(small[..., 1], 1e-9)
    beside = value / near * np.clip((near - np.exp(-1)) / (np.exp(-0.6) - np.exp(-1)), 0, 1)
    return np.asarray(cv2.resize(beside, (size, size)), np.float32)


def _told_around(after: Points2, reaches: Column, told: Points2, size: int) -> MapF32:
    """What points tell the pixels around, at a quarter of the size; see `_spread`."""
    side = size // _BORDER_SHRINK
    small = np.empty((side, side, 2), np.float32)
    each = np.column_stack([reaches / _BORDER_SHRINK, told]).astype(np.float32)
    _spread(small, (after / _BORDER_SHRINK).astype(np.float32), each)
    return small


def _denser(ring: Points2) -> Points2:
    """The points of a closed line, and those halfway between them."""
    halfway = (ring + np.roll(ring, -1, axis=0)) / 2
    return np.asarray(np.stack([ring, halfway], 1).reshape(-1, 2), np.float32)


def _read_between(positions: MapF32, at: Points2) -> Points2:
    """The map's values at places between its pixels, bilinear."""
    size = positions.shape[0]
    inside = np.clip(at, 0, size - 1)
    corner = np.minimum(inside.astype(int), size - 2)
    column, row = corner.T
    x, y = (inside - corner).T[..., None]
    upper = (1 - x) * positions[row, column] + x * positions[row, column + 1]
    lower = (1 - x) * positions[row + 1, column] + x * positions[row + 1, column + 1]
    return np.asarray((1 - y) * upper + y * lower, np.float32)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _fill_map(out, turn, centres, down, poses, shape):  # type: ignore[no-untyped-def]
    tcx, tcy = centres[0, 0], centres[0, 1]
    scx, scy = centres[1, 0], centres[1, 1]
    tx, ty, target_scale, sx, sy, source_scale = poses
    radius, chin, neck, slope, reach, fade = shape
    down_x, down_y = down[0], down[1]
    half, none, one = np.float32(0.5), np.float32(0), np.float32(1)
    two, three, steep = np.float32(2), np.float32(3), radius / np.float32(math.sqrt(2))
    xx, xy, xz, yx, yy, yz = (
        turn[0, 0],
        turn[0, 1],
        turn[0, 2],
        turn[1, 0],
        turn[1, 1],
        turn[1, 2],
    )
    size = out.shape[0]
    places = np.arange(size).astype(np.float32) + half
    found_x, found_y = np.empty(size, np.float32), np.empty(size, np.float32)  # of one row:
    for row in range(size):  # loops that write nothing else become vector instructions
        for column in range(size):
            px, py = places[column], places[row]
            fx, fy = (px - tx) / target_scale, (py - ty) / target_scale
            x, y = fx - tcx, fy - tcy
            squared = x * x + y * y
            ball = np.sqrt(radius * radius - min(squared, steep * steep))
            z = -max(ball - max(np.sqrt(squared) - steep, none), none)
            mx = xx * x + xy * y + xz * z + scx
            my = yx * x + yy * y + yz * z + scy
            along = fx * down_x + fy * down_y
            across = abs(fy * down_x - fx * down_y)
            weight = (chin + slope * min(across, two) + neck - along) / neck
            weight = min(max(weight, none), one)
            weight = weight * weight * (three - two * weight)
            outside = (reach + fade - np.sqrt(fx * fx + fy * fy)) / fade
            outside = min(max(outside, none), one)
            weight *= outside * outside * (three - two * outside)
            found_x[column] = (one - weight) * px + weight * (sx + source_scale * mx) - half
            found_y[column] = (one - weight) * py + weight * (sy + source_scale * my) - half
        for column in range(size):
            out[row, column, 0] = found_x[column]
            out[row, column, 1] = found_y[column]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _spread(out, points, told):  # type: ignore[no-untyped-def]
    """Interpolation of what points tell (reach, x, y) by distance to the fourth, fading over reach.

    Each loop over columns writes one array alone, and so becomes vector instructions.
    """
    size = out.shape[0]
    half, quarter, one = np.float32(0.5), np.float32(0.25), np.float32(1)
    places = np.arange(size).astype(np.float32) + half
    nearest, weight, total = (np.empty_like(places), np.empty_like(places), np.empty_like(places))
    sums = np.empty((told.shape[1], size), np.float32)
    for row in range(size):
        nearest[:], total[:], sums[:] = 1e9, 0, 0
        for k in range(len(points)):
            x, down = points[k, 0], (points[k, 1] - places[row]) ** 2
            for column in range(size):
                nearest[column] = min(nearest[column], (x - places[column]) ** 2 + down)
            for column in range(size):
                squared = (x - places[column]) ** 2 + down + quarter
                weight[column] = one / (squared * squared)
            for column in range(size):
                total[column] += weight[column]
            for n in range(len(sums)):
                for column in range(size):
                    sums[n, column] += weight[column] * told[k, n]
        for column in range(size):
            reach = sums[0, column] / total[column]
            fade = np.exp(-nearest[column] / (reach * reach)) / total[column]
            out[row, column, 0] = fade * sums[1, column]
            out[row, column, 1] = fade * sums[2, column]
