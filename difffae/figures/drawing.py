"""Drawings in place of pictures: a driver's mesh, where its picture may not be shown."""

import cv2
import numpy as np
from jaxtyping import Int32
from numpy.typing import NDArray

from difffae.arrays import Points3, SquareU8, Triangles
from difffae.face.crop import box_around
from difffae.figures.signals import IRISES
from difffae.metrics.motion import NUM_MESH_POINTS

INNER_LIPS = (
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95,
)  # fmt: skip
EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382),
)
_BACKGROUND, _LINE, _HOLE, _IRIS = (30, 34, 42), (120, 150, 180), (210, 90, 90), (240, 240, 240)
_AROUND = 1.5  # of the mesh's larger side
_DRAWN_AT = 2  # times the size, for smooth lines


def draw_mesh(points: Points3, triangles: Triangles, size: int) -> SquareU8:
    """A face's mesh with its mouth, eyes and irises, on a plain ground.

    Args:
        points: the 478 mesh points [px of any picture].
        triangles: of the mesh.
        size: side of the drawing [px].
    """
    side = size * _DRAWN_AT
    box = box_around(points[:NUM_MESH_POINTS], factor=_AROUND)
    places = np.rint(box.to_crop(points, side)[:, :2]).astype(np.int32)
    canvas = np.full((side, side, 3), _BACKGROUND, np.uint8)
    corners = places[triangles]
    cv2.polylines(canvas, list(corners), True, _LINE, 1, cv2.LINE_AA)
    for outline in (INNER_LIPS, *EYES):
        cv2.polylines(canvas, [_path(places, outline)], True, _HOLE, 3, cv2.LINE_AA)
    for iris in IRISES:
        x, y = (int(value) for value in places[iris])
        cv2.circle(canvas, (x, y), side // 60, _IRIS, -1, cv2.LINE_AA)
    shrunken = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunken, np.uint8)


def _path(
    places: Int32[NDArray[np.int32], "p 2"], outline: tuple[int, ...]
) -> Int32[NDArray[np.int32], "n 2"]:
    return np.ascontiguousarray(places[list(outline)])
