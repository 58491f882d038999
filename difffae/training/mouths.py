"""Learn the mean inside of open mouths: tracked pictures in, `MouthInterior` out."""

import cv2
import numpy as np
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Points3
from difffae.data.shards import ShardReader
from difffae.face.facemesh import NUM_MESH_POINTS, UPPER_LIP, FaceMeshModel, MouthInterior, align
from difffae.face.mouth import (
    MIDDLE,
    MOUTH_GAPS,
    MOUTH_SHAPE,
    MOUTH_WIDTHS,
    between_lips,
    skin_colour,
)

_LEAST_GAP = 0.03  # of a mouth that shows an inside [head units]
_MOST_TURN = 0.42  # sine of a head's yaw, about 25°
_LEAST_PX = 20  # of a mouth's width, to be sharp enough
_GAP_SPREAD = 0.16  # of what counts as open alike, relative
_WIDTH_SPREAD = 0.06  # of what counts as wide alike [head units]
_TEETH = 3.0  # a mouth whose teeth are as bright as skin weighs e to so much of one that is black
_TEETH_ROWS, _TEETH_COLUMNS = slice(1, 6), slice(7, 14)
_LEAST_SKIN = 24  # of a channel that shares are taken of
_MOST_SHARE = 2.0
_PRIOR = 0.001  # of the mean over all mouths, so that a node without any is not empty


def learn_mouth(reader: ShardReader, head_model: FaceMeshModel) -> MouthInterior:
    """The mean inside at every gap and width, by a kernel over both.

    A person weighs as the root of their frames, and a mouth whose teeth are seen more.

    Args:
        reader: of frame shards, with pictures and points.
        head_model: the model whose head units gaps are measured in.

    Raises:
        ValueError: no frame shows an open mouth.
    """
    points, people = reader.column("points"), reader.labels("person")
    opened = [_measured(each, head_model) for each in points]
    rows = [index for index, found in enumerate(opened) if found is not None]
    if not rows:
        raise ValueError(
            f"Got {len(points)} frames without an open mouth seen from the front, but the inside "
            "of mouths is learned from them: add clips of people who speak"
        )
    insides = np.stack([_inside(reader.picture("image", row), points[row]) for row in rows])
    frames_of: dict[str, int] = {}
    for row in rows:
        frames_of[people[row]] = frames_of.get(people[row], 0) + 1
    weights = np.array([frames_of[people[row]] ** -0.5 for row in rows])
    weights *= np.exp(_TEETH * insides[:, _TEETH_ROWS, _TEETH_COLUMNS].mean((1, 2, 3)))
    sizes = np.array([opened[row] for row in rows])
    near = [
        [weights * (_near(sizes, gap, width) + _PRIOR / len(rows)) for width in MOUTH_WIDTHS]
        for gap in MOUTH_GAPS
    ]
    shares = np.array(near) / np.sum(near, axis=-1, keepdims=True)
    mean = np.tensordot(shares, insides, 1)
    return np.asarray((mean + mean[..., ::-1, :]) / 2, np.float32)


def _near(sizes: NDArray[np.float64], gap: float, width: float) -> NDArray[np.float64]:
    off = np.log(sizes[:, 0] / gap) / _GAP_SPREAD, (sizes[:, 1] - width) / _WIDTH_SPREAD
    return np.asarray(np.exp(-0.5 * (off[0] ** 2 + off[1] ** 2)))


def _measured(points: Points3, head_model: FaceMeshModel) -> tuple[float, float] | None:
    """How far a mouth is open and how wide it is [head units]; None of one that tells nothing."""
    pose = align(points[:NUM_MESH_POINTS], head_model.mean, head_model.rigid_weights)
    head = pose.to_head(points[:NUM_MESH_POINTS])
    grid = between_lips(head).reshape(*MOUTH_SHAPE, 3)
    gap = float(np.linalg.norm(grid[-1] - grid[0], axis=-1)[MIDDLE].mean())
    width = float(np.linalg.norm(head[UPPER_LIP[0]] - head[UPPER_LIP[-1]]))
    is_seen = abs(float(pose.rotation[0, 2])) < _MOST_TURN and width * pose.scale > _LEAST_PX
    return (gap, width) if gap > _LEAST_GAP and is_seen else None


def _inside(image: ImageU8, points: Points3) -> NDArray[np.float32]:
    """What is between the lips, as shares of the skin's colour: [rows, columns, 3]."""
    places = between_lips(points)[:, :2].reshape(*MOUTH_SHAPE, 2) - np.float32(0.5)
    seen = cv2.remap(image, places, np.empty(0, np.float32), cv2.INTER_LINEAR)
    shares = seen.astype(np.float32) / np.maximum(skin_colour(image, points), _LEAST_SKIN)
    return np.asarray(np.minimum(shares, _MOST_SHARE), np.float32)
