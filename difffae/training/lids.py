"""Learn what closed and closing lids look like: tracked pictures in, `LidShades` out."""

import logging

import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray

from difffae.arrays import Points3
from difffae.data.shards import ShardReader
from difffae.face.eyelids import lid_opening
from difffae.face.facemesh import NUM_MESH_POINTS, FaceMeshModel, LidShades, align
from difffae.face.lids import LID_GAPS, lid_colours, skin_beside
from difffae.training.fairness import fair_weights

_MOST_TURN = 0.42  # sine of a head's yaw, about 25°
_LEAST_SCALE = 40.0  # pixels per head unit, to be sharp enough
_MOST_GAP = 0.14  # of an eye that is half closed at least [head units]
_SPREAD = 0.012  # of what counts as open alike [head units]
_CONTRAST = 1.2  # of what is darker than skin: lashes do not lie over each other
_DARKEST, _BRIGHTEST = 0.05, 2.0  # shares of the skin beside that count

_logger = logging.getLogger(__name__)
Shade = Float32[NDArray[np.float32], "rows columns 3"]
Shades = Float32[NDArray[np.float32], "eyes rows columns 3"]
Weights = Float64[NDArray[np.float64], " eyes"]


def learn_lids(reader: ShardReader, head_model: FaceMeshModel) -> LidShades | None:
    """Lids at every gap, as shares of the skin beside the eye; None where no frame shows any.

    The geometric mean over eyes that are open about so far, both as if they were the first one; as
    their lashes do not lie over each other, they get their darkness back. A person weighs as the
    root of their frames.

    Args:
        reader: of frame shards, with pictures and points.
        head_model: the model whose head units gaps are measured in.
    """
    points, people = reader.column("points"), reader.labels("person")
    shades, gaps, persons = [], [], []
    for row, (each, person) in enumerate(zip(points, people, strict=True)):
        for eye, gap in _closing(each, head_model):
            shade = _shade(reader, row, each, eye)
            shades.append(shade if eye == 0 else shade[:, ::-1])
            gaps.append(gap)
            persons.append(person)
    if not gaps or min(gaps) > LID_GAPS[1]:
        _logger.warning(
            "Got %d frames without a closed eye seen from the front: the head model does not learn "
            "what lids look like, and stretches what open eyes show of them",
            len(points),
        )
        return None
    fair = fair_weights(persons)
    seen, opened = np.stack(shades), np.array(gaps)
    return np.stack([_mean(seen, fair * _near(opened, gap)) for gap in LID_GAPS])


def _closing(points: Points3, head_model: FaceMeshModel) -> list[tuple[int, float]]:
    """The eyes of a face that are half closed at least, and how far they are open [head units]."""
    pose = align(points[:NUM_MESH_POINTS], head_model.mean, head_model.rigid_weights)
    if abs(float(pose.rotation[0, 2])) > _MOST_TURN or pose.scale < _LEAST_SCALE:
        return []
    gaps = [(eye, lid_opening(points, pose.scale, eye)) for eye in range(2)]
    return [(eye, gap) for eye, gap in gaps if gap < _MOST_GAP]


def _shade(reader: ShardReader, row: int, points: Points3, eye: int) -> Shade:
    colours = lid_colours(reader.picture("image", row), points, eye)
    shares = colours / np.maximum(skin_beside(colours), 1.0)[:, None]
    return np.asarray(np.clip(shares, _DARKEST, _BRIGHTEST), np.float32)


def _near(opened: Float64[NDArray[np.float64], " eyes"], gap: float) -> Weights:
    away = np.maximum(opened, 0) - gap
    return np.asarray(np.exp(-0.5 * (away / _SPREAD) ** 2), np.float64)


def _mean(shades: Shades, weights: Weights) -> Shade:
    share = weights / weights.sum()
    mean = np.exp(np.tensordot(share, np.log(shades), 1))
    return np.asarray(np.where(mean < 1, mean**_CONTRAST, mean), np.float32)
