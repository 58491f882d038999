"""A source's pictures, and how a warp lays them over one another: the composite of a condition."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import cv2
import numba
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MapF32, MaskedU8, MaskF32
from difffae.face.blending import lay_over
from difffae.face.mouth import tint
from difffae.face.warp import Warp, enlarge, face_box, moved_to

SMALL = 64  # side of small layers [px]
_CUT = 0.5  # of the person's mask at the upper edge: the head goes on above it
_BELOW_SHARE = 0.08  # of the side: where below the edge the head's outline is looked at too
_SOFT_SHARE = 0.012  # of the side: how softly it ends
Heights = Float32[NDArray[np.float32], " columns"]
_Pixel = TypeVar("_Pixel", np.uint8, np.float32)


@dataclass(frozen=True, kw_only=True)
class Layers:
    """A source's pictures, all of one size: it, its person's mask, what is behind; its skin."""

    portrait: ImageU8
    person: MaskF32
    plate: ImageU8
    skin_colour: Float32[NDArray[np.float32], " 3"]

    @cached_property
    def tint(self) -> Float32[NDArray[np.float32], "3 3"]:
        """See `difffae.face.mouth.tint`: of the portrait's skin."""
        return tint(self.skin_colour)

    @cached_property
    def masked(self) -> MaskedU8:
        """The portrait with the person's mask as its fourth plane: both are read at once."""
        mask = np.rint(255 * self.person).astype(np.uint8)
        return np.dstack([self.portrait, mask])

    @cached_property
    def crown(self) -> Heights:
        """How far a head that the upper edge cuts goes on above each column [px].

        On the circle through its outline at the edge and a little below.
        """
        is_person = self.person > _CUT
        size = is_person.shape[1]
        depth = round(_BELOW_SHARE * size)
        heights = np.zeros(size, np.float32)
        (edges,) = np.nonzero(np.diff(is_person[0], prepend=False, append=False))
        for first, end in edges.reshape(-1, 2):
            half, lower = (end - first) / 2, float(is_person[depth].sum()) / 2
            centre = max((lower**2 - half**2 + depth**2) / (2 * depth), 0.0)
            across = np.arange(first, end) + 0.5 - (first + end) / 2
            heights[first:end] = np.sqrt(half**2 + centre**2 - across**2) - centre
        return heights

    @cached_property
    def small(self) -> "Layers":
        """The same pictures at 64 x 64."""
        return Layers(
            portrait=_shrunk(self.portrait),
            person=_shrunk(self.person),
            plate=_shrunk(self.plate),
            skin_colour=self.skin_colour,
        )


def compose(layers: Layers, warp: Warp) -> tuple[ImageU8, MaskF32]:
    """The condition's picture at the layers' own size, and the moved person's mask.

    The person moves over the plate, the face lies on the person; nothing else bends.
    """
    size = layers.portrait.shape[0]
    head, person = _moved(layers, moved_to(warp.head_map, size))
    mirrored = warp.mirror_image
    if mirrored is not None:
        share, inside = (
            np.asarray(cv2.resize(mask, (size, size)), np.float32)
            for mask in (mirrored.head_share, mirrored.head_inside)
        )
        other, theirs = _moved(layers, moved_to(mirrored.head_map, size))
        lay_over(head, other, share)
        person += share * (inside * theirs - person)
    head = _relit(head, person, warp)
    person = _changed(person, warp.person_change)
    mixed = layers.plate.copy()
    lay_over(mixed, head, person)
    box = face_box(warp.face_weight, size)
    if box.height and box.width:
        face = enlarge(warp, size, box)
        lay_over(mixed[box.slices], lit_face(layers, face), face.face_weight)
    return mixed, person


def _moved(layers: Layers, head_map: MapF32) -> tuple[ImageU8, MaskF32]:
    """The portrait read by a map, and the person's mask, which ends above the upper edge.

    Past the portrait's edges its mirror image is read, but a mask's outline goes straight on: a
    mirrored shoulder would rise again.
    """
    read = _read(layers.masked, head_map)
    person = np.empty(read.shape[:2], np.float32)
    soft = np.float32(_SOFT_SHARE * layers.portrait.shape[0])
    _outline(person, read, head_map, layers.masked, (layers.crown, soft))
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_RGBA2RGB), np.uint8), person


@numba.njit(cache=True, nogil=True)
def _outline(person, read, positions, masked, end):  # type: ignore[no-untyped-def]
    """The moved person's mask: as read, past the portrait's edges as on them, up to its end."""
    crown, soft = end
    height, width = masked.shape[:2]
    most_x, most_y = np.float32(width - 1), np.float32(height - 1)
    for row in range(person.shape[0]):
        for column in range(person.shape[1]):
            x, y = positions[row, column, 0], positions[row, column, 1]
            value = np.float32(read[row, column, 3])
            if x < 0 or y < 0 or x > most_x or y > most_y:
                value = _mask_at(masked, min(max(x, 0), most_x), min(max(y, 0), most_y))
            share = np.float32(1)
            if y < 0:
                there = min(max(int(x), 0), width - 1)
                share = min(max((crown[there] + y) / soft + np.float32(0.5), np.float32(0)), share)
            person[row, column] = value * share * np.float32(1 / 255)


@numba.njit(cache=True, nogil=True)
def _mask_at(masked, x, y):  # type: ignore[no-untyped-def]
    """The mask at a place of the portrait, bilinear."""
    left, top = int(x), int(y)
    right, bottom = min(left + 1, masked.shape[1] - 1), min(top + 1, masked.shape[0] - 1)
    on, down = np.float32(x - left), np.float32(y - top)
    upper = masked[top, left, 3] * (1 - on) + masked[top, right, 3] * on
    lower = masked[bottom, left, 3] * (1 - on) + masked[bottom, right, 3] * on
    return np.float32(upper * (1 - down) + lower * down)


def _changed(person: MaskF32, change: MaskF32 | None) -> MaskF32:
    """The moved person's mask with what is added to it."""
    if change is None:
        return person
    larger = cv2.resize(change, person.shape[::-1], interpolation=cv2.INTER_LINEAR)
    cv2.add(person, larger, dst=larger)
    return np.asarray(np.clip(larger, 0, 1, out=larger), np.float32)


def _relit(moved: ImageU8, person: MaskF32, warp: Warp) -> ImageU8:
    """The moved portrait, the person in it in the light to show."""
    if warp.head_relight is None:
        return moved
    change = cv2.resize(warp.head_relight, moved.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    change = 1 + person[..., None] * (change - 1)
    return np.asarray(cv2.multiply(moved, change, dtype=cv2.CV_8U), np.uint8)


def lit_face(layers: Layers, warp: Warp) -> ImageU8:
    """The face layer of a warp of the layers' own size: read, painted and lit."""
    seen = _read(layers.portrait, warp.face_map)
    mirrored = warp.mirror_image
    if mirrored is not None:
        other = _read(layers.portrait, mirrored.face_map)
        light = np.ascontiguousarray(mirrored.light)
        _mix(seen, other, np.ascontiguousarray(mirrored.face_share), light)
    relight, paint = (np.ascontiguousarray(x) for x in (warp.relight, warp.paint))
    lit = np.empty_like(seen)
    _light(lit, seen, relight, paint, layers.tint)
    return lit


@numba.njit(cache=True, nogil=True)
def _mix(seen, other, share, light):  # type: ignore[no-untyped-def]
    """Let so much of another picture, in this light, take the place of what is seen."""
    for row in range(seen.shape[0]):
        for column in range(seen.shape[1]):
            weight = share[row, column]
            if weight > 0:
                for n in range(3):
                    lit = min(other[row, column, n] * light[row, column, n], np.float32(255))
                    value = np.float32(seen[row, column, n])
                    seen[row, column, n] = np.rint(value + weight * (lit - value))


@numba.njit(cache=True, nogil=True)
def _light(out, seen, relight, paint, tints):  # type: ignore[no-untyped-def]
    """Mix what is painted into what is seen of a face, light it, and round."""
    lowest, highest = np.float32(0), np.float32(255)
    for row in range(seen.shape[0]):
        for column in range(seen.shape[1]):
            for n in range(3):
                value = np.float32(seen[row, column, n])
                if paint[row, column, 0] > 0:
                    value *= 1 - paint[row, column, 0]
                    for k in range(3):
                        value += tints[n, k] * paint[row, column, k + 1]
                value *= relight[row, column, n]
                out[row, column, n] = np.rint(min(max(value, lowest), highest))


def _read(image: NDArray[np.uint8], positions: MapF32) -> NDArray[np.uint8]:
    """The image at these places, past its edges its mirror image.

    So hair goes on there; repeated, the edges would be streaks.
    """
    no_map = np.empty(0, np.float32)  # the first holds both x and y
    past = cv2.BORDER_REFLECT_101
    return np.asarray(cv2.remap(image, positions, no_map, cv2.INTER_LINEAR, borderMode=past))


def _shrunk(image: NDArray[_Pixel]) -> NDArray[_Pixel]:
    small = cv2.resize(image, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    return np.asarray(small, image.dtype)
