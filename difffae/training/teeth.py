"""Learn where one tooth ends and the next begins: pictures of smiles in, `TeethRelief` out."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray

from difffae.arrays import ImageU8, Points3
from difffae.data.shards import ShardReader
from difffae.face.facemesh import (
    NUM_MESH_POINTS,
    FaceMeshModel,
    TeethRelief,
    align,
    values_at,
)
from difffae.face.mouth import LUMA, paint_colour, skin_colour
from difffae.face.teeth import TEETH_WIDTHS, picture_places
from difffae.training.fairness import fair_weights
from difffae.training.mouths import is_plainly_lit, size_of_mouth

_GAPS = (0.09, 0.4)  # of a mouth that shows its upper teeth and little else [head units]
_LEAST_WIDTH = 0.9  # of one that smiles [head units]
_MOST_TURN = 0.2  # sine of a head's yaw, about 12°
_LEAST_SCALE = 33.0  # pixels per head unit, for teeth of several pixels
_TOOTH_LUMA = (0.35, 0.65)  # over skin's: of what is no tooth .. of what is one
_LEAST_BRIGHT = 0.6  # such a luma, of the middle of a mouth that shows teeth
_MIDDLE = np.abs(TEETH_WIDTHS) < 0.3
_ROWS = slice(1, 9)  # of a relief, below the upper lip and above the lower one
_AROUND = 0.045  # spread of what counts as around a tooth's edge [head units]
_DARKEST, _BRIGHTEST = -0.5, 0.3  # logarithms that count
# The upper teeth from the middle on, as seen from the front: incisors, canine, premolar.
_TOOTH_WIDTHS = (0.118, 0.09, 0.085, 0.07)  # [head units]
_EDGE = 0.014  # spread of the dark between two teeth [head units]
_SHIFTS = np.arange(-0.12, 0.121, 0.00625)  # of a person's teeth [head units]
_SIZES = np.geomspace(0.75, 1.3, 19)
_SHIFT_SPREAD, _SIZE_SPREAD = 0.06, 0.12  # of people, the second a logarithm
_PRIOR = 0.04  # what a shift or size of that spread takes of the correlation
_LEAST_ALIKE = 0.45  # correlation of teeth that are laid over the others
_ROUNDS = 6
_LEAST_SEEN = 0.01  # of all smiles, that show a place
_CONTRAST = 1.5  # small compressed pictures have less of it than teeth
_STEP = float(TEETH_WIDTHS[1] - TEETH_WIDTHS[0])
_WINDOW = np.exp(-((TEETH_WIDTHS / 0.3) ** 4))

_logger = logging.getLogger(__name__)
Relief = Float32[NDArray[np.float32], "rows columns"]
Profile = Float64[NDArray[np.float64], " columns"]


@dataclass(frozen=True, kw_only=True)
class Smile:
    """The teeth of one picture at a relief's points.

    Attributes:
        detail: logarithm of luma over that of what is around.
        weight: how much of a point is tooth.
        fairness: how much the picture weighs.
    """

    detail: Relief
    weight: Relief
    fairness: float = 1.0

    @cached_property
    def profile(self) -> Float64[NDArray[np.float64], "2 columns"]:
        """Both by column, in the middle rows."""
        detail, weight = self.detail[_ROWS], self.weight[_ROWS]
        mean = (detail * weight).sum(0) / np.maximum(weight.sum(0), 0.5)
        return np.asarray(np.stack([mean, weight.mean(0)]), np.float64)


@dataclass(frozen=True, kw_only=True)
class _Laid:
    """One smile's place over the others: its teeth are `shift` aside and of `size`."""

    shift: float
    size: float
    likeness: float


def learn_teeth(reader: ShardReader, head_model: FaceMeshModel) -> TeethRelief | None:
    """The relief of upper teeth; None where no frame shows any.

    A person weighs as the root of their frames.

    Args:
        reader: of frame shards, with pictures and points.
        head_model: the model whose head units teeth are measured in.
    """
    points, people = reader.column("points"), reader.labels("person")
    scales = {row: _scale_of_smile(each, head_model) for row, each in enumerate(points)}
    smiling = {row: scale for row, scale in scales.items() if scale is not None}
    fair = fair_weights([people[row] for row in smiling])
    smiles = []
    for (row, scale), fairness in zip(smiling.items(), fair, strict=True):
        smile = smile_of(reader.picture("image", row), points[row], scale)
        if smile is not None:
            smiles.append(replace(smile, fairness=float(fairness)))
    relief = laid_over_each_other(smiles) if smiles else None
    if relief is None:
        _logger.warning(
            "Got %d frames without teeth seen from the front: the head model does not learn where "
            "one ends, and paints them as one band",
            len(points),
        )
    return relief


def smile_of(image: ImageU8, points: Points3, scale: float) -> Smile | None:
    """The teeth of a picture; None where it shows none."""
    skin = skin_colour(image, points)
    if not is_plainly_lit(skin):
        return None
    places, is_between = picture_places(points, scale)
    luma = values_at(image, places) / np.maximum(paint_colour(skin), 1) @ LUMA
    between = is_between.astype(np.float32)
    middle = between[_ROWS][:, _MIDDLE]
    if (luma[_ROWS][:, _MIDDLE] * middle).sum() < _LEAST_BRIGHT * max(middle.sum(), 1.0):
        return None
    tooth = np.interp(luma, _TOOTH_LUMA, (0, 1)) * between
    weight = cv2.dilate(tooth.astype(np.float32), np.ones((1, 5))) * between
    level = np.log(np.maximum(luma, 0.1)).astype(np.float32)
    around = _blurred(level * weight) / np.maximum(_blurred(weight), 1e-2)
    detail = np.clip((level - around) * weight, _DARKEST, _BRIGHTEST)
    return Smile(detail=detail.astype(np.float32), weight=weight.astype(np.float32))


def laid_over_each_other(smiles: list[Smile]) -> TeethRelief | None:
    """The relief that smiles have in common once each is shifted and sized to lie on the others.

    At first on teeth of usual widths, then on the mean, six times (congealing). It gets back the
    contrast that its smiles have, and is alike on both sides; None where none is like the others.
    """
    mean = _usual_teeth()
    alike: list[tuple[Smile, _Laid]] = []
    for _ in range(_ROUNDS):
        found = [_lay(smile.profile, mean) for smile in smiles]
        likely = [laid.likeness > _LEAST_ALIKE for laid in found]
        if not any(likely):
            return None
        alike = list(compress(zip(smiles, found, strict=True), likely))
        laid = [_moved(smile.profile, place) for smile, place in alike]
        mean = _mean(np.stack(laid), _weights(alike))
    details, teeth = (
        np.stack([_moved(getattr(smile, name), laid) for smile, laid in alike])
        for name in ("detail", "weight")
    )
    weights = _weights(alike)
    relief = _mean(np.stack([details, teeth], 1), weights)
    middle = weights[:, None, None] * teeth * _MIDDLE
    seen, left = (np.sqrt((each**2 * middle).sum()) for each in (details, relief))
    return np.asarray(relief * _CONTRAST * seen / max(float(left), 1e-6), np.float32)


def _scale_of_smile(points: Points3, head_model: FaceMeshModel) -> float | None:
    """Pixels per head unit of a face that smiles; None of others, and of those seen too small."""
    size = size_of_mouth(points, head_model, most_turn=_MOST_TURN)
    if size is None or not _GAPS[0] < size[0] < _GAPS[1] or size[1] <= _LEAST_WIDTH:
        return None
    scale = align(points[:NUM_MESH_POINTS], head_model.mean, head_model.rigid_weights).scale
    return scale if scale >= _LEAST_SCALE else None


def _blurred(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigmaX=_AROUND / _STEP, sigmaY=0.01))


def _usual_teeth() -> Profile:
    edges = np.cumsum(_TOOTH_WIDTHS)
    lines = np.concatenate([-edges, [0], edges])
    dark = -np.exp(-0.5 * ((TEETH_WIDTHS[:, None] - lines) / _EDGE) ** 2).sum(1)
    return np.asarray(dark - _blurred(dark[None].astype(np.float32))[0], np.float64)


def _lay(profile: Float64[NDArray[np.float64], "2 columns"], mean: Profile) -> _Laid:
    """Where a smile's teeth lie on the mean's best: normalised correlation, usual places first."""
    at = _SIZES[None, :, None] * TEETH_WIDTHS + _SHIFTS[:, None, None]
    moved, share = (np.interp(at, TEETH_WIDTHS, values, left=0, right=0) for values in profile)
    share = share * _WINDOW
    norms = (moved**2 * share).sum(-1) * (mean**2 * share).sum(-1)
    likeness = (moved * mean * share).sum(-1) / (np.sqrt(norms) + 1e-3)
    unusual = (np.log(_SIZES) / _SIZE_SPREAD) ** 2 + (_SHIFTS[:, None] / _SHIFT_SPREAD) ** 2
    likeness -= _PRIOR * unusual
    shift, size = np.unravel_index(int(likeness.argmax()), likeness.shape)
    return _Laid(
        shift=float(_SHIFTS[shift]), size=float(_SIZES[size]), likeness=float(likeness.max())
    )


def _moved(rows: NDArray[Any], laid: _Laid) -> NDArray[np.float64]:
    """Every row's values where the mean's columns are."""
    at = TEETH_WIDTHS * laid.size + laid.shift
    return np.stack([np.interp(at, TEETH_WIDTHS, row, left=0, right=0) for row in rows])


def _weights(alike: list[tuple[Smile, _Laid]]) -> Float64[NDArray[np.float64], " smiles"]:
    return np.array([smile.fairness * laid.likeness**2 for smile, laid in alike])


def _mean(
    laid: Float64[NDArray[np.float64], "smiles 2 *places"],
    weights: Float64[NDArray[np.float64], " smiles"],
) -> NDArray[np.float64]:
    """The mean of smiles' details by their weights, made alike on both sides."""
    shares = np.einsum("n,n...->n...", weights, laid[:, 1])
    mean = (laid[:, 0] * shares).sum(0) / np.maximum(shares.sum(0), _LEAST_SEEN * weights.sum())
    return np.asarray((mean + mean[..., ::-1]) / 2, np.float64)
