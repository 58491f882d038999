"""Regions of a portrait hidden from the networks, so that another's slot token tells of them.

Once a source, and again in every frame, for what is hidden moves with the head. Training hides
regions in the same way (`difffae.training.hiding`): labels of 64 pixels a side, told by the mesh,
the person's mask and the chin, then `difffae.model.hiding`.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import MaskF32, Points3, SlotMasks, SquareU8
from difffae.face.facemesh import FACE_OVAL
from difffae.face.identity import five_points
from difffae.face.portrait_regions import BODY, HEAD, REGION_NAMES, portrait_regions
from difffae.face.renderer import Condition
from difffae.model.hiding import UNKNOWN, hidden_area

LABEL_SIZE = 64  # as in difffae.data.region_labels
GREY = 128
_GROWTH = 2  # of a region, in pixels of the slot masks: the middle of what training drew
_LEAST = 1e-3

Planes = Float32[NDArray[np.float32], "h w 4"]
Labels = Float32[NDArray[np.float32], "64 64 4"]


@dataclass(frozen=True, kw_only=True)
class HiddenRegions:
    """What the networks are not to see of a source.

    Attributes:
        slots: the regions, by the numbers of their slots.
        planes: how much of each pixel of the source's crop is each of the four regions.
        mask_size: side of the model's slot masks [px].
    """

    slots: tuple[int, ...]
    planes: Planes
    mask_size: int


def regions_of(person: MaskF32, points: Points3) -> Planes:
    """The regions of a source's crop.

    Args:
        person: the person's mask in it.
        points: mesh points in its pixels.
    """
    oval = np.rint(points[list(FACE_OVAL), :2]).astype(np.int32)
    blank = np.zeros(person.shape, np.float32)
    face = np.asarray(cv2.fillPoly(blank, [oval], (1.0,)), np.float32)
    regions = portrait_regions(face, person, five_points(points))
    return np.ascontiguousarray(regions.transpose(1, 2, 0))


def hide_in_source(picture: SquareU8, hidden: HiddenRegions) -> SquareU8:
    """The source's crop with its hidden regions grey."""
    area = _area(_shrunken(hidden.planes), hidden, picture.shape[0])
    return _greyed(picture, area)


def hide_in_condition(condition: Condition, hidden: HiddenRegions) -> Condition:
    """The condition without the hidden regions, wherever the motion has brought them."""
    if condition.warp is None:  # the networks make all but the face as it is
        return condition
    size = condition.composite.shape[0]
    area = _area(_moved(condition, hidden.planes), hidden, size)
    person = condition.person_mask * (1 - area) + UNKNOWN * area
    return replace(
        condition,
        composite=_greyed(condition.composite, area),
        person_mask=np.asarray(person, np.float32),
        hidden=area,
    )


def _moved(condition: Condition, planes: Planes) -> Labels:
    """The regions of the composite, small: hair and clothes from where the source's are read."""
    assert condition.warp is not None
    size = (LABEL_SIZE, LABEL_SIZE)
    positions = cv2.resize(condition.warp.head_map, size, interpolation=cv2.INTER_AREA)
    no_map = np.empty(0, np.float32)
    read = cv2.remap(planes, positions, no_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    inner = np.maximum(condition.face_mask, condition.inside_mask)
    face = cv2.resize(inner, size, interpolation=cv2.INTER_AREA)
    person = cv2.resize(condition.person_mask, size, interpolation=cv2.INTER_AREA)
    body = np.maximum(person, face)
    above = read[..., HEAD] / np.maximum(read[..., HEAD] + read[..., BODY], _LEAST)
    rest = body - face
    parts = [face, rest * above, rest * (1 - above), 1 - body]
    return np.asarray(np.stack(parts, -1), np.float32)


def _shrunken(planes: Planes) -> Labels:
    size = (LABEL_SIZE, LABEL_SIZE)
    return np.asarray(cv2.resize(planes, size, interpolation=cv2.INTER_AREA), np.float32)


def _area(planes: Labels, hidden: HiddenRegions, size: int) -> MaskF32:
    """1 where any of the regions is hidden, 0 elsewhere."""
    masks = _slot_masks(planes, hidden.mask_size)
    slots = torch.tensor(hidden.slots)
    growth = torch.full_like(slots, _GROWTH)
    areas = hidden_area(masks.expand(len(slots), -1, -1, -1), slots, growth, size)
    return np.ascontiguousarray(areas.amax(0)[0].numpy())


def _slot_masks(planes: Labels, size: int) -> SlotMasks:
    """The regions' shares of each pixel of slot masks, from labels as training has them."""
    labels = torch.from_numpy(np.argmax(planes, -1))
    shares = F.one_hot(labels, len(REGION_NAMES)).permute(2, 0, 1)[None].float()
    return F.interpolate(shares, size=(size, size), mode="area")


def _greyed(picture: SquareU8, area: MaskF32) -> SquareU8:
    shown = picture.copy()
    shown[area > 0] = GREY
    return shown
