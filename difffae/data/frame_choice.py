"""Which two frames of a clip make a pair: rather two that differ where faces do.

Drawn evenly, most pairs of a talking head are two alike faces, and one in thirty shows a blink:
what is hardest to draw would be seen least.
"""

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.face.facemesh import EYE_CORNERS, LIDS

_LARGEST = 4.0  # of a difference, in usual changes: a mistracked frame is not to be drawn for ever
_INNER_LIPS = (13, 14, 78, 308)  # upper, lower, corners
_TURNS = slice(4, 6)  # yaw and pitch among the signals
_NOSE, _FOREHEAD, _CHIN, _SIDES = 4, 10, 152, (234, 454)

Signals = Float32[NDArray[np.float32], "frames signals"]


def face_signals(points: Float32[NDArray[np.float32], "frames 478 3"]) -> Signals:
    """Openings of both eyes, of the mouth, its width, yaw and pitch, in distances of the eyes."""
    flat = points[..., :2]
    eyes = [flat[:, corners].mean(1) for corners in EYE_CORNERS]
    size = np.linalg.norm(eyes[1] - eyes[0], axis=1)
    lids = [
        np.mean([np.linalg.norm(flat[:, low] - flat[:, up], axis=1) for up, low in pairs], 0)
        for pairs in LIDS
    ]
    upper, lower, *corners = (flat[:, point] for point in _INNER_LIPS)
    mouth = [np.linalg.norm(lower - upper, axis=1), np.linalg.norm(corners[1] - corners[0], axis=1)]
    turn = flat[:, _NOSE, 0] - flat[:, _SIDES, 0].mean(1)
    nod = flat[:, _NOSE, 1] - flat[:, [_FOREHEAD, _CHIN], 1].mean(1)
    signals = np.stack([*lids, *mouth, turn, nod], 1) / size[:, None]
    return np.asarray(signals, np.float32)


def usual_change(clips: list[Signals]) -> Float32[NDArray[np.float32], " signals"]:
    """Spread of each signal within clips, pooled over them."""
    centred = np.concatenate([clip - clip.mean(0) for clip in clips])
    return np.asarray(centred.std(0).clip(1e-4), np.float32)


def choose_frames(
    signals: Signals, random: np.random.Generator, liveliness: float, turning: float = 0
) -> tuple[int, int]:
    """Two different frames of a clip.

    Args:
        signals: of its frames, in usual changes.
        random: what to draw by.
        liveliness: how much likelier a second frame is for each squared usual change between it and
            the first; 0 draws it evenly.
        turning: the same, of changes of yaw and pitch alone, in addition.
    """
    first = int(random.integers(len(signals)))
    change = np.abs(signals - signals[first]).clip(max=_LARGEST)
    weights = np.full(signals.shape[1], liveliness, np.float32)
    weights[_TURNS] += turning
    chance = 1 + np.square(change) @ weights
    chance[first] = 0
    return first, int(random.choice(len(signals), p=chance / chance.sum()))
