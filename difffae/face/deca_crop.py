"""The crop that DECA reads: a box around 68 landmarks, cut to 224 pixels (model.md 3.7).

DECA takes the box of the 68 landmarks that FAN finds. MediaPipe's mesh has no such points; the
mesh points at the same features stand in for them here: the face's outline from ear to ear below
the eyes, the brows' upper edges, the bridge and tip of the nose. On a head turned far to the side
the outline is the mesh's own, not the visible edge that FAN marks, and the box is a little wider.
"""

import cv2
import numpy as np

from difffae.arrays import ImageU8, Points3
from difffae.face.crop import CropBox
from difffae.face.deca import Crop224
from difffae.face.resnet import INPUT_SIZE_PX

_JAW = (
    *(127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152),
    *(377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356),
)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_NOSE = (168, 6, 195, 1)
_LANDMARKS = list(_JAW + _BROWS + _NOSE)
_LANDMARKS_TO_FACE = 1.1
_FACE_TO_CROP = 1.25  # as DECA is used; it was trained on 1.4 to 1.8


def deca_box(points: Points3) -> CropBox:
    """The square that DECA reads around a face.

    Its borders are those of the crop's outermost pixels, while DECA counts the box's size from
    centre to centre of these pixels.

    Args:
        points: mesh points [px]; the centre of the picture's first pixel is (0.5, 0.5).
    """
    shown = points[_LANDMARKS, :2].astype(np.float64)
    low, high = shown.min(0), shown.max(0)
    face = float((high - low).mean()) * _LANDMARKS_TO_FACE
    step = max(int(face * _FACE_TO_CROP), 1) / (INPUT_SIZE_PX - 1)
    size = step * INPUT_SIZE_PX
    left, top = (low + high) / 2 - size / 2
    return CropBox(left=float(left), top=float(top), size=size)


def cut(image: ImageU8, box: CropBox) -> Crop224:
    """The box at 224 pixels, at its exact place: bilinear, black outside the picture."""
    step = box.size / INPUT_SIZE_PX
    shift = [side + step / 2 - 0.5 for side in (box.left, box.top)]  # of the first pixel's centre
    to_picture = np.array([[step, 0, shift[0]], [0, step, shift[1]]], np.float64)
    return np.asarray(
        cv2.warpAffine(
            image,
            to_picture,
            (INPUT_SIZE_PX, INPUT_SIZE_PX),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        ),
        np.uint8,
    )
