"""Square crops of a picture: a box in, a resized square out, and the exact way back."""

from dataclasses import dataclass

import cv2
import numpy as np

from difffae.arrays import ImageU8, Points3, SquareF32, SquareU8
from difffae.face.blending import lay_over

FACE_TO_CROP = 2.3  # side of the crop / larger side of the face mesh: hair and neck fit in
TRACKING_TO_FACE = 1.9  # side of the tracker's input / larger side of the face mesh


@dataclass(frozen=True, kw_only=True)
class CropBox:
    """An axis-aligned square of a picture, in its pixels; it may reach over the border."""

    left: float
    top: float
    size: float

    def to_crop(self, points: Points3, output_size: int) -> Points3:
        """Move picture points into the crop's pixels (z is scaled alike)."""
        scale = output_size / self.size
        offset = np.array([self.left, self.top, 0], np.float32)
        return ((points - offset) * scale).astype(np.float32)

    def to_picture(self, points: Points3, output_size: int) -> Points3:
        """Move the crop's points back into the picture's pixels: the inverse of `to_crop`."""
        scale = self.size / output_size
        offset = np.array([self.left, self.top, 0], np.float32)
        return (points * scale + offset).astype(np.float32)


def box_around(points: Points3, *, factor: float) -> CropBox:
    """The square of `factor` times the points' larger side, around the middle of their extent."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    size = float((high - low).max()) * factor
    left, top = (low + high) / 2 - size / 2
    return CropBox(left=float(left), top=float(top), size=size)


def portrait_box(points: Points3, height: int, width: int) -> CropBox:
    """The working crop of a portrait: around the face, whole pixels, inside the picture.

    A picture hardly larger than the wanted crop is taken whole, so that a 256x256 face crop is
    used as it is, without resampling.
    """
    box = box_around(points, factor=FACE_TO_CROP)
    limit = min(height, width)
    size = limit if box.size > 0.8 * limit else round(box.size)
    centre = (box.left + box.size / 2, box.top + box.size / 2)
    left = min(max(round(centre[0] - size / 2), 0), width - size)
    top = min(max(round(centre[1] - size / 2), 0), height - size)
    return CropBox(left=left, top=top, size=size)


def crop(image: ImageU8, box: CropBox, output_size: int) -> SquareU8:
    """Cut the box out, resized to a square of `output_size`; pixels outside repeat the border."""
    left, top, size = round(box.left), round(box.top), max(round(box.size), 1)
    height, width = image.shape[:2]
    rows, columns = (
        slice(max(top, 0), min(top + size, height)),
        slice(max(left, 0), min(left + size, width)),
    )
    patch = image[rows, columns]
    if patch.size == 0:
        raise ValueError(f"Got a crop box outside the {width}x{height} picture: {box}")
    missing = (
        rows.start - top,
        top + size - rows.stop,
        columns.start - left,
        left + size - columns.stop,
    )
    if any(missing):
        patch = np.asarray(cv2.copyMakeBorder(patch, *missing, borderType=cv2.BORDER_REPLICATE))
    if size == output_size:
        return np.ascontiguousarray(patch)
    shrinking = cv2.INTER_AREA if size > output_size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(patch, (output_size, output_size), interpolation=shrinking))


def paste(image: ImageU8, patch: SquareU8, weight: SquareF32, box: CropBox) -> ImageU8:
    """Blend a patch of the box's own size into a copy of the picture, by `weight` in [0, 1].

    The box must lie inside the picture with whole-pixel borders, as `portrait_box` makes it.
    """
    left, top, size = round(box.left), round(box.top), round(box.size)
    if patch.shape[:2] != (size, size):
        raise ValueError(f"Got a patch of {patch.shape[:2]} but expected the box's {(size, size)}")
    result = image.copy()
    lay_over(result[top : top + size, left : left + size], patch, weight)
    return result
