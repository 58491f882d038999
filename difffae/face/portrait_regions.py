"""The regions that slots are taught to mean: a face's mask, a person's mask and five points in.

Not the paper's: its slots find regions by themselves (section 4.3). With little data and a small
model they do not (lite.md section 5), so that masks which cost nothing teach them.
"""

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import MaskF32

FACE, HEAD, BODY, BACKGROUND = range(4)
REGION_NAMES = ("face", "hair and head", "clothes and body", "background")
_SOFTNESS_PX = 4.0  # of the border between head and body
_FACE_LEVEL = 0.5

RegionMasks = Float32[NDArray[np.float32], "4 h w"]


def portrait_regions(
    face: MaskF32, person: MaskF32, five: Float32[NDArray[np.float32], "5 2"]
) -> RegionMasks:
    """Face, the rest of the head, the body, background: masks that sum to 1 at each pixel.

    Head and body part at the chin, across the face's own axis, so that the neck and hair below the
    chin are the body's.

    Args:
        face: the mesh's face, its eyes and mouth too.
        person: of the segmentation; the face is a person's wherever it says otherwise.
        five: eyes, nose tip and mouth corners [px], as `five_points` gives them.
    """
    body = np.maximum(person, face)
    eyes, mouth = five[:2].mean(0), five[3:].mean(0)
    down = (mouth - eyes) / max(float(np.linalg.norm(mouth - eyes)), 1e-6)
    rows, columns = np.indices(face.shape, np.float32)
    depth = columns * down[0] + rows * down[1]
    is_face = face > _FACE_LEVEL
    chin = float(depth[is_face].max()) if is_face.any() else float(mouth @ down)
    above = np.clip((chin - depth) / _SOFTNESS_PX + 0.5, 0, 1)
    rest = body - face
    regions = [face, rest * above, rest * (1 - above), 1 - body]
    return np.asarray(np.stack(regions), np.float32)
