"""Warps that only move: for tests of what is laid over what."""

import numpy as np

from difffae.arrays import MapF32
from difffae.face.warp import Warp


def plain_warp(positions: MapF32) -> Warp:
    """Head and face are read there; the face covers nothing, is not painted and keeps its light."""
    height, width = positions.shape[:2]
    nothing = np.zeros((height, width), np.float32)
    return Warp(
        face_map=positions,
        head_map=positions,
        face_weight=nothing,
        inside_mask=nothing,
        paint=np.zeros((height, width, 4), np.float32),
        relight=np.ones((height, width, 3), np.float32),
    )
