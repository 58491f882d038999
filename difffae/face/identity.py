"""Who a face is: a picture and its mesh points in, an identity token out (paper: Theta, f_id)."""

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import AlignedU8, ImageU8, Points3

ALIGNED_SIZE_PX = 112
# Where ArcFace wants eyes, nose and mouth corners, left to right in the picture (insightface).
ARCFACE_TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ],
    np.float32,
)
_FIVE = (468, 473, 1, 61, 291)  # the same five among the mesh points


def five_points(points: Points3) -> Float32[NDArray[np.float32], "5 2"]:
    """Eyes, nose tip and mouth corners, left to right in the picture [px]."""
    return np.ascontiguousarray(points[list(_FIVE), :2])


def align_face(image: ImageU8, five: Float32[NDArray[np.float32], "5 2"]) -> AlignedU8:
    """The face moved to ArcFace's 112-pixel template by a similarity (Umeyama 1991)."""
    matrix = similarity(five, ARCFACE_TEMPLATE)
    size = (ALIGNED_SIZE_PX, ALIGNED_SIZE_PX)
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR))


def similarity(
    start: Float32[NDArray[np.float32], "n 2"], end: Float32[NDArray[np.float32], "n 2"]
) -> Float32[NDArray[np.float32], "2 3"]:
    """The rotation, scale and shift that take `start` to `end` with the least squared error."""
    a, b = start - start.mean(0), end - end.mean(0)
    power = float((a**2).sum())
    cosine = float((a * b).sum()) / power
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / power
    turn = np.array([[cosine, -sine], [sine, cosine]], np.float32)
    shift = end.mean(0) - turn @ start.mean(0)
    return np.asarray(np.concatenate([turn, shift[:, None]], 1), np.float32)
