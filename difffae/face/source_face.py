"""All that is known of a source's face before any network sees it: fit, light and layers."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from difffae.arrays import ImageU8, Lighting, MaskF32, Points3
from difffae.face.appearance import Appearance
from difffae.face.crop import CropBox, crop
from difffae.face.facemesh import NUM_MESH_POINTS, FaceMeshModel
from difffae.face.layers import Layers
from difffae.face.lighting import estimate_lighting
from difffae.face.morphable import FittedFace
from difffae.face.mouth import skin_colour
from difffae.face.normals import vertex_normals
from difffae.face.plate import background_plate, enlarged_plate

LARGEST_LAYER_PX = 1024  # a crop larger than this is composed at this size
_FACING = -0.35  # normals' z under which skin is seen well enough to judge its light
_SKIN_BLUR_PX = 1.5
_NOBODY, _SOMEBODY = 0.05, 0.45  # of a segmentation: doubtful hair is hair, else it fades away


PaintOut = Callable[[ImageU8, MaskF32], ImageU8]


@dataclass(frozen=True, kw_only=True)
class SourceFace:
    """A portrait's crop taken apart: its fitted face, how that looks, and the crop's layers."""

    fitted: FittedFace
    appearance: Appearance
    layers: Layers


def build_source_face(
    image: ImageU8,
    points: Points3,
    person: MaskF32,
    head_model: FaceMeshModel,
    fitted: FittedFace | None = None,
    *,
    paint_out: PaintOut = background_plate,
) -> SourceFace:
    """Take a square crop apart.

    Args:
        image: the crop.
        points: mesh points in its pixels.
        person: the person's mask.
        head_model: the model to fit.
        fitted: the fit where it is known already.
        paint_out: what makes the picture without the person.
    """
    return SourceFace(
        fitted=head_model.fit(points) if fitted is None else fitted,
        appearance=Appearance(lighting=portrait_lighting(image, points, head_model)),
        layers=source_layers(image, points, person, paint_out),
    )


def source_layers(
    image: ImageU8, points: Points3, person: MaskF32, paint_out: PaintOut = background_plate
) -> Layers:
    """A crop's layers: itself, the person's mask, what may lie behind the person."""
    firm = np.clip((person - _NOBODY) / (_SOMEBODY - _NOBODY), 0, 1).astype(np.float32)
    return Layers(
        portrait=image,
        person=firm,
        plate=paint_out(image, firm),
        skin_colour=skin_colour(image, points),
    )


def full_layers(image: ImageU8, box: CropBox, small: Layers) -> Layers:
    """The crop's layers at its own resolution; masks and what the plate guesses are enlarged."""
    size = min(round(box.size), LARGEST_LAYER_PX)
    if size == small.portrait.shape[0]:
        return small
    portrait = crop(image, box, size)
    person = np.clip(
        cv2.resize(small.person, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1
    ).astype(np.float32)
    plate = enlarged_plate(small.plate, portrait, person)
    return Layers(portrait=portrait, person=person, plate=plate, skin_colour=small.skin_colour)


def portrait_lighting(image: ImageU8, points: Points3, head_model: FaceMeshModel) -> Lighting:
    """The light on the portrait's skin."""
    normals = vertex_normals(points, head_model.skin_triangles)[:NUM_MESH_POINTS]
    facing = normals[:, 2] < _FACING
    if facing.sum() < NUM_MESH_POINTS // 8:
        facing = np.ones(NUM_MESH_POINTS, bool)
    height, width = image.shape[:2]
    at = np.rint(points[:NUM_MESH_POINTS, :2] - 0.5).astype(int)
    columns, rows = np.clip(at, 0, [width - 1, height - 1]).T
    colours = cv2.GaussianBlur(image, (0, 0), _SKIN_BLUR_PX)[rows, columns].astype(np.float32)
    return estimate_lighting(normals[facing], colours[facing])
