"""Another light on what the face mesh does not cover: normals of head and body in, its change out.

Hair, ears and neck are lit as the ball that carries them (see `surroundings`), and what lies below
the chin as a chest that looks at the viewer: a lamp that lit the face alone would make it a mask.
The face's own light is carried a little over its border, so that there is no step.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Lighting, Normals, ShadingF32
from difffae.face.lighting import shade
from difffae.face.parameters import FaceParameters, matrix
from difffae.face.surroundings import SurroundingsConfig

CHANGE_RANGE = (0.5, 1.8)  # of the light over the portrait's own, at any place
_SHRINK = 4  # the change is smooth: a quarter of the size is enough
# How much a chest turns aside for each head unit, how much up, and how much to the viewer.
_CHEST = (0.12, -0.25, -1.0)

_REACH = 0.35  # how far from the face's border its own light is carried on [head units]
_SOFT = 0.05  # points of the border nearer than that share a place [head units]

Places = Float32[NDArray[np.float32], "p 2"]
Change = Float32[NDArray[np.float32], "border 3"]


@dataclass(frozen=True, kw_only=True)
class Border:
    """The outline of a face whose light has changed.

    Attributes:
        places: its points [px].
        change: the second light's shading over the first's, there.
    """

    places: Float32[NDArray[np.float32], "border 2"]
    change: Change


def light_change(
    normals: Normals, lighting: tuple[Lighting, Lighting]
) -> Float32[NDArray[np.float32], "p 3"]:
    """The second light's shading over the first's, for each normal and colour."""
    change = shade(normals, lighting[1]) / shade(normals, lighting[0])
    return np.asarray(np.clip(change, *CHANGE_RANGE), np.float32)


def normals_around(places: Places, face: FaceParameters, config: SurroundingsConfig) -> Normals:
    """Unit normals of the head's ball and of the body below it.

    Args:
        places: where [px].
        face: as it is shown, in the same pixels.
        config: the ball.
    """
    rotation = matrix(face.rotation)
    at = (places - face.translation) / face.scale
    beside = at - rotation[:2, 2] * config.depth
    towards = np.sqrt(np.maximum(config.radius**2 - (beside**2).sum(-1), 0))
    ball = _unit(np.column_stack([beside, -towards]))
    aside, up, ahead = _CHEST
    flat = np.ones(len(places), np.float32)
    chest = _unit(np.column_stack([aside * at[:, 0], up * flat, ahead * flat]))
    below = (at @ rotation[:2, 1] - config.chin) / config.neck
    share = np.clip(below, 0, 1)[:, None]
    share = share * share * (3 - 2 * share)
    return _unit(ball + share * (chest - ball))


def head_relight(
    face: FaceParameters,
    config: SurroundingsConfig,
    lighting: tuple[Lighting, Lighting],
    size: int,
    border: Border | None = None,
) -> ShadingF32:
    """What the moved portrait is multiplied by around the face.

    Args:
        face: as it is shown, in the crop's pixels.
        config: the ball.
        lighting: the portrait's, and the one to show.
        size: side of the crop [px].
        border: of the face, whose change its surroundings meet there.
    """
    side = size // _SHRINK
    rows, columns = (np.indices((side, side), np.float32) + 0.5) * _SHRINK
    places = np.column_stack([columns.ravel(), rows.ravel()])
    change = light_change(normals_around(places, face, config), lighting)
    if border is not None:
        here = light_change(normals_around(border.places, face, config), lighting)
        change = change + _carried(places, border, border.change - here, face.scale)
    return np.asarray(cv2.resize(change.reshape(side, side, 3), (size, size)), np.float32)


def _carried(
    places: Places, border: Border, difference: Change, scale: float
) -> Float32[NDArray[np.float32], "carried 3"]:
    """A difference at the border, at places around it: of its nearest points, fading."""
    squared = (
        (places**2).sum(1)[:, None] - 2 * places @ border.places.T + (border.places**2).sum(1)
    ).clip(0) / scale**2
    weights = 1 / (squared + _SOFT**2) ** 2
    mean = weights @ difference / weights.sum(1, keepdims=True)
    fading = np.exp(-squared.min(1, keepdims=True) / _REACH**2)
    return np.asarray(mean * fading, np.float32)


def _unit(vectors: NDArray[np.float32]) -> Normals:
    length = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
    return np.asarray(vectors / length, np.float32)
