"""Learn the inside of open mouths: tracked pictures in, `MouthInterior` out."""

import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Points3
from difffae.data.shards import ShardReader
from difffae.face.facemesh import (
    NUM_MESH_POINTS,
    UPPER_LIP,
    FaceMeshModel,
    MouthInterior,
    align,
    values_at,
)
from difffae.face.mouth import (
    LUMA,
    MIDDLE,
    MOUTH_GAPS,
    MOUTH_SHAPE,
    MOUTH_WIDTHS,
    Colour,
    Inside,
    between_lips,
    cast_of,
    hung,
    paint_colour,
    skin_colour,
)
from difffae.training.fairness import fair_weights

_LEAST_GAP = 0.03  # of a mouth that shows an inside [head units]
_MOST_TURN = 0.42  # sine of a head's yaw, about 25°
_LEAST_PX = 20  # of a mouth's width, to be sharp enough
_GAP_SPREAD = 0.3  # of what counts as open alike, relative
_WIDTH_SPREAD = 0.08  # of what counts as wide alike [head units]
_NEAREST = 600  # mouths that a node is made of at most
_CLEAR = 7.0  # a mouth weighs e to so much of its clearness, see `_clearness`
_TEETH, _CAVITY = (0.02, 0.09), 0.16  # where they are, below the upper lip [head units]
_TEETH_COLUMNS, _CORNERS = 0.6, 0.8  # from the middle, as shares of half the width
_SMILING_COLUMNS, _SMILING_CORNERS = 0.8, 0.92  # likewise, of smiles
_SMALL_GAP, _LARGE_GAP = 0.12, 0.2  # open too little to show teeth .. enough to show what is behind
_SMILING_GAP = 0.07  # of a smile, likewise too little to show teeth
_SMILING_WIDTH = 0.95  # between the corners of a mouth that smiles [head units]
_LAUGHING_GAP = 0.4  # of a mouth that is too far open to smile
_LAUGHING_WIDTH = 0.98  # of the widest such mouths that there are enough of [head units]
_CONTRAST = 0.7  # of what a mean's contrast lacks, that is given back
_LEAST_LUMA = 40.0  # of skin that shares are taken of
_MOST_CAST = 0.3  # of its colour, by which it differs from usual skin: logarithm of a channel
_MOST_SHARE = 1.5
_BRIGHT, _DARK = 1.2, 0.2  # shares beyond which a mouth is not the clearer
_PRIOR = 1e-4  # of mouths much wider or narrower, so that a node without any is not empty
_HEIGHTS = np.linspace(0, 1, MOUTH_SHAPE[0])
_FROM_MIDDLE = np.abs(np.linspace(-1, 1, MOUTH_SHAPE[1]))

Insides = Float32[NDArray[np.float32], "mouths rows columns 3"]
Lumas = Float32[NDArray[np.float32], "mouths rows columns"]
Sizes = Float64[NDArray[np.float64], "mouths 2"]
Weights = Float64[NDArray[np.float64], " mouths"]


def learn_mouth(reader: ShardReader, head_model: FaceMeshModel) -> MouthInterior:
    """The inside at every gap and width: of mouths that show it clearly, one over the other.

    A mean over all mouths is the mud between teeth, tongue and dark. So a mouth weighs more whose
    teeth stand out; mouths are laid over each other as jaws are, upper halves by the upper lip
    and lower halves by the lower one; and the mean gets back the contrast that its mouths have. A
    person weighs as the root of their frames.

    Args:
        reader: of frame shards, with pictures and points.
        head_model: the model whose head units gaps are measured in.

    Raises:
        ValueError: no frame shows an open mouth.
    """
    points, people = reader.column("points"), reader.labels("person")
    insides, opened, persons = [], [], []
    for row, (each, person) in enumerate(zip(points, people, strict=True)):
        size = size_of_mouth(each, head_model)
        if size is None:
            continue
        image = reader.picture("image", row)
        skin = skin_colour(image, each)
        if is_plainly_lit(skin):
            insides.append(_inside(image, each, skin))
            opened.append(size)
            persons.append(person)
    if not insides:
        raise ValueError(
            f"Got {len(points)} frames without an open mouth seen from the front, but the inside "
            "of mouths is learned from them: add clips of people who speak"
        )
    seen, sizes = np.stack(insides), np.array(opened)
    fair = fair_weights(persons)
    nodes = [[_node(seen, sizes, fair, gap, width) for width in MOUTH_WIDTHS] for gap in MOUTH_GAPS]
    return np.asarray(nodes, np.float32)


def _node(insides: Insides, sizes: Sizes, fair: Weights, gap: float, width: float) -> Inside:
    """The inside of mouths open so far and so wide."""
    laughs = gap > _LAUGHING_GAP
    smiles = width > _SMILING_WIDTH and not laughs
    width = min(width, _LAUGHING_WIDTH) if laughs else width
    near = fair * _near(sizes, gap, width)
    nearest = np.argsort(-near)[:_NEAREST]
    laid = np.stack([hung(insides[n], sizes[n, 0], gap) for n in nearest])
    luma = laid @ LUMA
    clear = _clearness(laid, luma, gap, smiles=smiles)
    weights = near[nearest] * np.exp(_CLEAR * (clear - clear.max()))
    weights /= weights.sum()
    levels = weights @ np.sort(luma.reshape(len(luma), -1))
    mean = np.tensordot(weights.astype(np.float32), laid, 1)
    return _contrasted(np.asarray((mean + mean[:, ::-1]) / 2, np.float32), levels)


def _near(sizes: Sizes, gap: float, width: float) -> Weights:
    apart, wider = sizes[:, 0] / gap, sizes[:, 1] - width
    near = np.exp(-0.5 * (((apart - 1) / _GAP_SPREAD) ** 2 + (wider / _WIDTH_SPREAD) ** 2))
    return np.asarray(near + _PRIOR * np.exp(-2 * np.log(apart) ** 2), np.float64)


def _clearness(mouths: Insides, luma: Lumas, gap: float, *, smiles: bool) -> Weights:
    """How much whiter teeth are than what is below them, or beside them where that is hidden.

    Lips that smile lie against teeth, which they show earlier and further to the sides.
    """
    if gap <= (_SMILING_GAP if smiles else _SMALL_GAP):
        return np.asarray(-luma.mean((1, 2)), np.float64)
    middle = (_SMILING_COLUMNS if smiles else _TEETH_COLUMNS) > _FROM_MIDDLE
    inner = (_SMILING_CORNERS if smiles else _CORNERS) > _FROM_MIDDLE
    below = _HEIGHTS * gap
    rows = (below > _TEETH[0]) & (below < _TEETH[1])
    white = 2 * mouths[..., 2] - mouths[..., 0]  # lips and tongues are red beside skin, teeth blue
    teeth = white[:, rows][:, :, middle].mean((1, 2))
    hidden = gap <= _LARGE_GAP
    dark = (luma[:, :, ~inner] if hidden else luma[:, below > _CAVITY][:, :, inner]).mean((1, 2))
    return np.asarray(np.minimum(teeth, _BRIGHT) - np.maximum(dark, _DARK), np.float64)


def _contrasted(mean: Inside, levels: NDArray[np.float64]) -> Inside:
    """The mean with, most of the way, the levels of luma that its mouths have, darkest first."""
    luma = mean @ LUMA
    wanted = np.empty(luma.size)
    wanted[np.argsort(luma, axis=None)] = levels
    gain = 1 + _CONTRAST * (wanted.reshape(luma.shape) / np.maximum(luma, 1e-3) - 1)
    return np.asarray(mean * gain[..., None], np.float32)


def size_of_mouth(
    points: Points3, head_model: FaceMeshModel, most_turn: float = _MOST_TURN
) -> tuple[float, float] | None:
    """How far a mouth is open and how wide it is [head units]; None of one that tells nothing.

    Args:
        points: of the mesh [px].
        head_model: the model whose head units are meant.
        most_turn: sine of a head's yaw, of heads that are seen from the front.
    """
    pose = align(points[:NUM_MESH_POINTS], head_model.mean, head_model.rigid_weights)
    head = pose.to_head(points[:NUM_MESH_POINTS])
    grid = between_lips(head).reshape(*MOUTH_SHAPE, 3)
    gap = float(np.linalg.norm(grid[-1] - grid[0], axis=-1)[MIDDLE].mean())
    width = float(np.linalg.norm(head[UPPER_LIP[0]] - head[UPPER_LIP[-1]]))
    is_seen = abs(float(pose.rotation[0, 2])) < most_turn and width * pose.scale > _LEAST_PX
    return (gap, width) if gap > _LEAST_GAP and is_seen else None


def is_plainly_lit(skin: Colour) -> bool:
    """Whether shares of a skin's colour tell anything: not in the dark or beside coloured lamps."""
    if float(skin @ LUMA) < _LEAST_LUMA:
        return False
    return bool(np.abs(np.log(cast_of(skin))).max() < _MOST_CAST)


def _inside(image: ImageU8, points: Points3, skin: Colour) -> Inside:
    """What is between the lips, as shares of `paint_colour`: [rows, columns, 3]."""
    seen = values_at(image, between_lips(points)[:, :2].reshape(*MOUTH_SHAPE, 2))
    shares = seen / np.maximum(paint_colour(skin), 1)
    return np.asarray(np.minimum(shares, _MOST_SHARE), np.float32)
