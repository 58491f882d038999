"""A condition before it is composed, and the same for crops of other sizes."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numba
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import MapF32, MaskF32, PaintF32, ShadingF32

Between = tuple[NDArray[np.uint32], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class MirrorImage:
    """What is shown of the portrait's other side; see `difffae.face.mirroring`.

    Attributes:
        face_map, head_map: where in the source crop the face layer and the head layer read [px].
        face_share, head_share: how much it covers of each.
        head_inside: 1 where the head goes on beside the face.
        light: on the face, the portrait's on what it covers over that on what it shows.
    """

    face_map: MapF32
    head_map: MapF32
    face_share: MaskF32
    head_share: MaskF32
    head_inside: MaskF32
    light: ShadingF32


@dataclass(frozen=True, kw_only=True)
class Warp:
    """A condition before it is composed: for each of 256 x 256 pixels, what it shows.

    Attributes:
        face_map, head_map: where in the source crop the face layer and the head layer read [px].
        face_weight: how much the face layer covers.
        paint: how much what the portrait does not show of mouth and lids covers, and its colour
            times as much, as shares of the skin's colour.
        inside_mask: 1 in the open eyes and between the lips.
        relight: the light after the motion over the light before, on the face.
        head_relight: the light shown over the portrait's own, around the face; None: the same.
        person_change: what is added to the moved person's mask; None: nothing.
        mirror_image: what is shown of the portrait's other side; None: nothing.
    """

    face_map: MapF32
    head_map: MapF32
    face_weight: MaskF32
    inside_mask: MaskF32
    paint: PaintF32
    relight: ShadingF32
    head_relight: ShadingF32 | None = None
    person_change: MaskF32 | None = None
    mirror_image: MirrorImage | None = None


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of a picture [px]."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        rows = slice(self.top, self.top + self.height)
        return rows, slice(self.left, self.left + self.width)


def face_box(weight: MaskF32, size: int) -> Box:
    """The part that a mask covers once it is of that size; empty where it covers nothing.

    Between two pixels an enlarged mask is above 0 beside the last one that is.
    """
    left, top, width, height = cv2.boundingRect((weight > 0).view(np.uint8))
    if not (width and height):
        return Box(top=0, left=0, height=0, width=0)
    factor, beside = size / weight.shape[0], int(size != weight.shape[0])
    first = [max(int((start - beside) * factor), 0) for start in (top, left)]
    ends = (top + height, left + width)
    last = [min(int(np.ceil((end + beside) * factor)), size) for end in ends]
    return Box(top=first[0], left=first[1], height=last[0] - first[0], width=last[1] - first[1])


def enlarge(warp: Warp, size: int, box: Box) -> Warp:
    """A part of the same warp for a crop of another size: for the face, without what is around it.

    Args:
        warp: whole.
        size: of the crop [px].
        box: of it.
    """
    is_same = size == warp.head_map.shape[0]

    def part(values: NDArray[np.float32]) -> NDArray[np.float32]:
        if is_same:
            return values[box.slices]
        planes = values[..., None] if values.ndim == 2 else values
        return _enlarged(planes, size, box).reshape(box.height, box.width, *values.shape[2:])

    def moved(face_map: MapF32) -> NDArray[np.float32]:
        known = face_map if is_same else _carried_on(face_map, warp.face_weight)
        return moved_to(known, size, box)

    mirrored = warp.mirror_image
    return Warp(
        face_map=moved(warp.face_map),
        head_map=moved_to(warp.head_map, size, box),
        face_weight=part(warp.face_weight),
        inside_mask=part(warp.inside_mask),
        paint=part(warp.paint),
        relight=part(warp.relight),
        mirror_image=None
        if mirrored is None
        else MirrorImage(
            face_map=moved(mirrored.face_map),
            head_map=moved_to(mirrored.head_map, size, box),
            face_share=part(mirrored.face_share),
            head_share=part(mirrored.head_share),
            head_inside=part(mirrored.head_inside),
            light=part(mirrored.light),
        ),
    )


def moved_to(positions: MapF32, size: int, box: Box | None = None) -> MapF32:
    """A map of positions for a crop of another size: read between its own, and scaled with it.

    Args:
        positions: of the whole crop [px].
        size: of the other crop [px].
        box: the part of it that is wanted; None: all.
    """
    given = positions.shape[0]
    if size == given:
        return positions if box is None else positions[box.slices]
    factor = size / given
    whole = Box(top=0, left=0, height=size, width=size)
    return _enlarged(positions, size, box or whole, (factor, (factor - 1) / 2))


def _enlarged(
    values: Float32[NDArray[np.float32], "h w n"],
    size: int,
    box: Box,
    scaling: tuple[float, float] = (1, 0),
) -> Float32[NDArray[np.float32], "rows columns n"]:
    """A part of a larger picture of values, bilinear, times the first number plus the second."""
    height, width, planes = values.shape
    out = np.empty((box.height, box.width * planes), np.float32)
    known = np.ascontiguousarray(values).reshape(height, -1)
    down, across = box.slices
    rows = _part(_between(height, size, 1), down, 1)
    columns = _part(_between(width, size, planes), across, planes)
    gain, shift = np.float32(scaling[0]), np.float32(scaling[1])
    _enlarge_into(out, known, rows, columns, (np.uint32(planes), gain, shift))
    return out.reshape(box.height, box.width, planes)


@lru_cache(maxsize=64)
def _between(num_known: int, size: int, planes: int) -> Between:
    """For each value of a larger row: the known one before it, and how far it is on to the next.

    Args:
        num_known: pixels of the smaller row.
        size: pixels of the larger row.
        planes: values of each.
    """
    places = np.maximum((np.arange(size) + 0.5) * num_known / size - 0.5, 0)
    starts = places.astype(np.uint32)
    shares = (places - starts).astype(np.float32)
    each = starts[:, None] * np.uint32(planes) + np.arange(planes, dtype=np.uint32)
    return each.ravel(), np.repeat(shares, planes)


def _part(row: Between, part: slice, planes: int) -> Between:
    starts, shares = row
    values = slice(part.start * planes, part.stop * planes)
    return starts[values], shares[values]


@numba.njit(cache=True, nogil=True)
def _enlarge_into(out, values, rows, columns, scaling):  # type: ignore[no-untyped-def]
    """Mix two rows, then in that each value with the next; indices without sign are not checked."""
    planes, gain, shift = scaling
    num_rows, length = values.shape
    mixed = np.empty(length + planes, np.float32)
    for row in range(len(out)):
        first = rows[0][row]
        upper, lower = values[first], values[min(first + 1, num_rows - 1)]
        for k in range(length):
            mixed[k] = upper[k] + rows[1][row] * (lower[k] - upper[k])
        mixed[length:] = mixed[length - planes : length]
        for k in range(out.shape[1]):
            here = columns[0][k]
            value = mixed[here]
            value += columns[1][k] * (mixed[here + planes] - value)
            out[row, k] = gain * value + shift


def _carried_on(positions: MapF32, weight: MaskF32) -> MapF32:
    """Positions of the face, also one pixel outside it: a larger map reads between the two."""
    out = positions.copy()
    left, top, width, height = cv2.boundingRect((weight > 0).view(np.uint8))
    _carry_on(out, positions, weight, (top, top + height), (left, left + width))
    return out


@numba.njit(cache=True, nogil=True)
def _carry_on(out, positions, weight, rows, columns):  # type: ignore[no-untyped-def]
    """Outside the face the mean of those pixels around that are on it, if any."""
    height, width = weight.shape
    for row in range(max(rows[0] - 1, 0), min(rows[1] + 1, height)):
        for column in range(max(columns[0] - 1, 0), min(columns[1] + 1, width)):
            if weight[row, column] > 0:
                continue
            count, x, y = 0, np.float32(0), np.float32(0)
            for i in range(max(row - 1, 0), min(row + 2, height)):
                for k in range(max(column - 1, 0), min(column + 2, width)):
                    if weight[i, k] > 0:
                        count += 1
                        x += positions[i, k, 0]
                        y += positions[i, k, 1]
            if count:
                out[row, column, 0], out[row, column, 1] = x / count, y / count
