"""What slots are, shown: a picture, its source's slot masks and the motion in, a tinted one out."""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8, SlotMasks
from difffae.face.crop import CropBox
from difffae.face.renderer import Condition
from difffae.face.warp import Warp

_COLOURS = ((235, 120, 60), (170, 70, 220), (50, 120, 240), (60, 180, 90))
_OPACITY = 0.5
_GOLDEN = 0.618  # share of the circle of hues from one further colour to the next
_TEXT_SHARE = 0.045  # of the picture's shorter side: height of a line of the legend
_FONT_PX = 22.0  # height of OpenCV's font at scale 1
_PLATE = 0.35  # brightness that is left under the legend
_WHITE = (255, 255, 255)

Planes = Float32[NDArray[np.float32], "h w slots"]


@dataclass(frozen=True, kw_only=True)
class SlotView:
    """Slots to be shown.

    Attributes:
        masks: of the source's crop.
        names: of the slots; empty: they are numbered.
        box: the crop, in the picture.
    """

    masks: SlotMasks
    names: tuple[str, ...]
    box: CropBox


def show_slots(image: ImageU8, view: SlotView, condition: Condition) -> ImageU8:
    """The picture tinted by slots, which move with the head, and a legend of their names.

    Args:
        image: the edited portrait.
        view: the slots.
        condition: of this picture, whose motion the masks follow; the face stays where it is in one
            without the portrait's own pixels.
    """
    planes = np.ascontiguousarray(view.masks[0].permute(1, 2, 0).float().cpu().numpy())
    moved = planes if condition.warp is None else _moved(planes, condition.warp)
    colours = np.array([slot_colour(k) for k in range(moved.shape[-1])], np.float32)
    side = round(view.box.size)
    tint = cv2.resize(moved @ colours, (side, side), interpolation=cv2.INTER_LINEAR)
    shown = image.copy()
    top, left = round(view.box.top), round(view.box.left)
    part = shown[top : top + side, left : left + side]
    part[:] = cv2.addWeighted(part, 1 - _OPACITY, tint, _OPACITY, 0, dtype=cv2.CV_8U)
    names = view.names or tuple(f"slot {k + 1}" for k in range(moved.shape[-1]))
    return _with_legend(shown, names)


def slot_colour(slot: int) -> tuple[int, int, int]:
    """Of a slot, 0 to 255."""
    if slot < len(_COLOURS):
        return _COLOURS[slot]
    red, green, blue = colorsys.hsv_to_rgb((_GOLDEN * slot) % 1, 0.75, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def _moved(planes: Planes, warp: Warp) -> Planes:
    """The masks where the composite shows what they are of, at their own size."""
    height, width = planes.shape[:2]
    factor = height / warp.head_map.shape[0]
    is_face = warp.face_weight[..., None] > 0.5
    positions = np.where(is_face, warp.face_map, warp.head_map)
    small = cv2.resize(positions, (width, height), interpolation=cv2.INTER_AREA)
    at = np.asarray((small + 0.5) * factor - 0.5, np.float32)
    no_map = np.empty(0, np.float32)
    read = cv2.remap(planes, at, no_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(read, np.float32).reshape(height, width, -1)


def _with_legend(image: NDArray[np.uint8], names: tuple[str, ...]) -> ImageU8:
    """Names beside their colours, in the lower left corner; drawn into the picture."""
    height, width = image.shape[:2]
    line = max(10, round(_TEXT_SHARE * min(height, width)))
    scale = 0.7 * line / _FONT_PX
    widest = max(cv2.getTextSize(n, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0] for n in names)
    top, right = height - len(names) * line - line // 2, min(widest + 2 * line, width)
    plate = image[max(top, 0) :, :right]
    plate[:] = (plate * _PLATE).astype(np.uint8)
    for k, name in enumerate(names):
        bottom = max(top, 0) + (k + 1) * line
        swatch = (line // 3, bottom - 2 * line // 3), (line, bottom - line // 8)
        cv2.rectangle(image, *swatch, slot_colour(k), cv2.FILLED)
        at = (line + line // 3, bottom - line // 6)
        cv2.putText(image, name, at, cv2.FONT_HERSHEY_SIMPLEX, scale, _WHITE, 1, cv2.LINE_AA)
    return image
