"""A whole picture taken apart: a person's own colours, their matte, and what lies behind."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, MaskF32, MaskU8
from difffae.face.crop import CropBox, crop
from difffae.face.layers import Layers
from difffae.face.matting import foreground_colours, refine_matte
from difffae.face.plate import background_plate

Colour = Float32[NDArray[np.float32], " 3"]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The layers of a picture, all of its size.

    Attributes:
        picture: as it is.
        person: the person's colours, everywhere; they mean something where `matte` is not 0.
        matte: how much of each pixel is the person.
        plate: what lies behind.
    """

    picture: ImageU8
    person: ImageU8
    matte: MaskF32
    plate: ImageU8


def take_scene(picture: ImageU8, segmentation: MaskF32) -> Scene:
    """Take a picture apart.

    Args:
        picture: any size.
        segmentation: the person's soft mask in it.
    """
    matte = refine_matte(picture, segmentation)
    person = foreground_colours(picture, matte)
    return Scene(
        picture=picture, person=person, matte=matte, plate=background_plate(picture, matte)
    )


def before(scene: Scene, plate: ImageU8) -> Scene:
    """The same person before another plate."""
    picture = cv2.blendLinear(scene.person, plate, scene.matte, 1 - scene.matte)
    return replace(scene, picture=np.asarray(picture, np.uint8), plate=plate)


def cover(picture: ImageU8, height: int, width: int) -> NDArray[np.uint8]:
    """The middle of a picture, as large as fits, at this size: nothing is squeezed or left bare."""
    given_height, given_width = picture.shape[:2]
    scale = max(height / given_height, width / given_width)
    rows, columns = round(height / scale), round(width / scale)
    top, left = (given_height - rows) // 2, (given_width - columns) // 2
    part = picture[top : top + max(rows, 1), left : left + max(columns, 1)]
    shrinking = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (width, height), interpolation=shrinking), np.uint8)


def scene_layers(scene: Scene, box: CropBox, size: int, skin_colour: Colour) -> Layers:
    """The layers of a crop of the scene, at this size [px]."""
    matte = crop(np.repeat(_bytes(scene.matte)[..., None], 3, -1), box, size)[..., 0]
    return Layers(
        portrait=crop(scene.person, box, size),
        person=(matte / np.float32(255)).astype(np.float32),
        plate=crop(scene.plate, box, size),
        skin_colour=skin_colour,
    )


def _bytes(mask: MaskF32) -> MaskU8:
    return np.asarray(np.rint(255 * mask), np.uint8)
