"""Boxes of clips: one fixed box a clip, cut out of every frame and resized to a square."""

from dataclasses import dataclass

import cv2
import numpy as np

from difffae.arrays import ImageU8, SquareU8


@dataclass(frozen=True, kw_only=True)
class Box:
    """An axis-aligned rectangle of a picture, in its pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Width [px]; negative where the sides are swapped."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height [px]; negative where the sides are swapped."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Area [px²], 0 for an empty box."""
        return max(self.width, 0.0) * max(self.height, 0.0)

    def scaled(self, across: float, down: float) -> "Box":
        """The same box in a picture resized by these factors."""
        return Box(
            left=self.left * across,
            top=self.top * down,
            right=self.right * across,
            bottom=self.bottom * down,
        )

    def joined(self, other: "Box") -> "Box":
        """The smallest box around both."""
        return Box(
            left=min(self.left, other.left),
            top=min(self.top, other.top),
            right=max(self.right, other.right),
            bottom=max(self.bottom, other.bottom),
        )

    def shared(self, other: "Box") -> "Box":
        """What both have in common; empty (area 0) where they do not meet."""
        return Box(
            left=max(self.left, other.left),
            top=max(self.top, other.top),
            right=min(self.right, other.right),
            bottom=min(self.bottom, other.bottom),
        )

    def overlap(self, other: "Box") -> float:
        """Intersection over union, 0 to 1."""
        common = self.shared(other).area
        together = self.area + other.area - common
        return common / together if together > 0 else 0.0

    def share_within(self, other: "Box") -> float:
        """How much of this box's area lies in the other, 0 to 1."""
        return self.shared(other).area / self.area if self.area > 0 else 0.0

    def square(self, growth: float) -> "Box":
        """The square around the middle, of the longer side grown by this share on each end.

        It is the box of FOMM's preprocessing, which grows by 0.1.
        """
        half = max(self.width, self.height) * (0.5 + growth)
        across, down = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        return Box(left=across - half, top=down - half, right=across + half, bottom=down + half)

    def moved_inside(self, width: int, height: int) -> "Box":
        """A square moved, and shrunk where it must be, so that it lies in a picture; whole pixels.

        Args:
            width: the picture's width [px].
            height: the picture's height [px].
        """
        side = min(round(self.width), width, height)
        left = min(max(round((self.left + self.right - side) / 2), 0), width - side)
        top = min(max(round((self.top + self.bottom - side) / 2), 0), height - side)
        return Box(left=left, top=top, right=left + side, bottom=top + side)


def whole(width: int, height: int) -> Box:
    """The box of a whole picture."""
    return Box(left=0, top=0, right=width, bottom=height)


def middle_square(width: int, height: int) -> Box:
    """The largest square in the middle of a picture, in whole pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return Box(left=left, top=top, right=left + side, bottom=top + side)


def cut_out(image: ImageU8, box: Box, size: int) -> SquareU8:
    """The part of a picture in a box, resized to a square of `size` pixels.

    Shrinking averages areas (`cv2.INTER_AREA`), as `difffae.face.crop` does for the portraits and
    drivers the model will meet, so that neither fine patterns alias nor training differs from use;
    enlarging is cubic. A box that is not square is stretched, as FOMM's preprocessing stretches it.

    Raises:
        ValueError: no whole pixel of the picture lies in the box.
    """
    height, width = image.shape[:2]
    left, top = max(int(box.left), 0), max(int(box.top), 0)
    right, bottom = min(int(box.right), width), min(int(box.bottom), height)
    if right <= left or bottom <= top:
        raise ValueError(f"got a box outside the {width}x{height} picture: {box}")
    patch = np.ascontiguousarray(image[top:bottom, left:right])
    if patch.shape[:2] == (size, size):
        return patch
    is_shrinking = max(patch.shape[:2]) > size
    method = cv2.INTER_AREA if is_shrinking else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(patch, (size, size), interpolation=method))
