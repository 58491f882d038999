"""Scene cuts: how much a frame differs from the one before, and when that means another shot.

Colour histograms are compared place by place: motion within a place changes its histogram little,
another shot changes those of most places. PySceneDetect does the same by other figures; its
package asks for an OpenCV that MediaPipe's does not go with.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import ImageU8

_SIZE_PX = 96
_PLACES = 4  # places across and down
_BINS = (8, 4, 8)  # of hue, saturation and value
Histograms = Float32[NDArray[np.float32], "places bins"]


@dataclass(frozen=True, kw_only=True)
class SceneCutConfig:
    """When a change counts as a cut.

    Attributes:
        min_change: smallest change, 0 to 1, between two frames that is a cut.
        min_ratio: how many times larger it has to be than the changes just before it.
        memory: how many earlier changes are averaged for that.
    """

    min_change: float = 0.35
    min_ratio: float = 2.5
    memory: int = 12


class SceneCutDetector:
    """Fed with the frames of a video in order; says which begins another shot."""

    def __init__(self, config: SceneCutConfig) -> None:
        self._config = config
        self._previous: Histograms | None = None
        self._changes: list[float] = []

    def is_cut(self, frame: ImageU8) -> bool:
        """Whether this frame begins another shot than the frame given before."""
        histograms = place_histograms(frame)
        if self._previous is None:
            self._previous = histograms
            return False
        change = histogram_change(self._previous, histograms)
        self._previous = histograms
        usual = float(np.mean(self._changes)) if self._changes else 0.0
        found = change >= self._config.min_change and change >= self._config.min_ratio * usual
        self._changes = [] if found else [*self._changes, change][-self._config.memory :]
        return found


def place_histograms(frame: ImageU8) -> Histograms:
    """HSV histograms of 4×4 places of a frame, each summing to 1."""
    small = cv2.resize(frame, (_SIZE_PX, _SIZE_PX), interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    side = _SIZE_PX // _PLACES
    histograms = [
        cv2.calcHist(
            [np.ascontiguousarray(hsv[y : y + side, x : x + side])],
            [0, 1, 2],
            None,
            list(_BINS),
            [0, 180, 0, 256, 0, 256],
        ).ravel()
        for y in range(0, _SIZE_PX, side)
        for x in range(0, _SIZE_PX, side)
    ]
    return np.asarray(np.stack(histograms) / side**2, np.float32)


def histogram_change(one: Histograms, other: Histograms) -> float:
    """Mean Hellinger distance over the places: 0 for equal histograms, 1 where none share a bin."""
    affinity = np.sqrt(one * other).sum(-1)
    return float(np.sqrt(np.maximum(1 - affinity, 0)).mean())
