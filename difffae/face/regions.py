"""Regions of the face that may be kept still while the rest moves: the eyes, and the mouth.

A linear expression basis moves the whole face with each coefficient. To keep a region still, the
displacement of all points is faded out there, and the coefficients are found that explain best what
is left; that is one matrix for each choice of regions, made once.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Points3

Weights = Float32[NDArray[np.float32], " p"]
Corners = Float32[NDArray[np.float32], "n 3"]
_HELD_IMPORTANCE = 3.0  # of the points of both regions over all others
_RIDGE = 1e-3  # of the mean square displacement: keeps coefficients plausible


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Which regions of the face the driver moves.

    Attributes:
        eyes: lids and gaze.
        mouth: lips, jaw, and all that is below the nose.
    """

    eyes: bool = True
    mouth: bool = True


class RegionFilter:
    """Takes regions out of a change of expression.

    Args:
        basis: how far each coefficient moves each point.
        eyes: 1 at the points of the eyes, 0 elsewhere, smooth between.
        mouth: the same for the mouth.
    """

    def __init__(
        self, basis: Float32[NDArray[np.float32], "m p 3"], eyes: Weights, mouth: Weights
    ) -> None:
        flat = basis.reshape(len(basis), -1).astype(np.float64)
        importance = np.repeat(1 + _HELD_IMPORTANCE * np.maximum(eyes, mouth), 3)
        gram = (flat * importance) @ flat.T
        gram += _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))

        def keeping(free: Weights) -> Float32[NDArray[np.float32], "m m"]:
            faded = (flat * importance * np.repeat(free, 3)) @ flat.T
            return np.asarray(np.linalg.solve(gram, faded), np.float32)

        self._held = {"eyes": eyes, "mouth": mouth}
        self._kept = {
            Regions(eyes=False): keeping(1 - eyes),
            Regions(mouth=False): keeping(1 - mouth),
            Regions(eyes=False, mouth=False): keeping((1 - eyes) * (1 - mouth)),
        }

    def moving(self, regions: Regions) -> Weights:
        """How much each point moves: 0 where a region stays."""
        share = np.ones_like(self._held["eyes"])
        for name, held in self._held.items():
            share = share if getattr(regions, name) else share * (1 - held)
        return share

    def __call__(
        self, change: Float32[NDArray[np.float32], " m"], regions: Regions
    ) -> Float32[NDArray[np.float32], " m"]:
        """The change of expression with the regions that do not move taken out of it."""
        kept = self._kept.get(regions)
        return change if kept is None else kept @ change


def near(points: Points3, others: Corners, reach: tuple[float, float]) -> Weights:
    """1 at points nearer to one of the others than the first distance, 0 past the second."""
    distance = np.linalg.norm(points[:, None] - others[None], axis=-1).min(1)
    return 1 - ramp(distance.astype(np.float32), reach)


def ramp(values: Weights, reach: tuple[float, float]) -> Weights:
    """0 up to the first value, 1 from the second, smooth between."""
    share = np.clip((values - reach[0]) / (reach[1] - reach[0]), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
