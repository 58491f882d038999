"""How far a head can turn from its portrait before nothing is known of what would be seen."""

from dataclasses import replace

import numpy as np

from difffae.face.parameters import FaceParameters, axis_angle, matrix

FREE_YAW = np.radians(34.0)  # from the front, or as far as the portrait's own if that is further
_MOST_BEYOND = np.radians(10.0)  # of what is shown of any further turn


def within_reach(target: FaceParameters, portrait: FaceParameters) -> FaceParameters:
    """The face to show: one that turns further than the portrait can be followed turns slower.

    Args:
        target: the face that is asked for.
        portrait: the portrait's own.
    """
    wanted, own = _yaw(target), _yaw(portrait)
    lowest, highest = min(own, -FREE_YAW), max(own, FREE_YAW)
    free = float(np.clip(wanted, lowest, highest))
    beyond = wanted - free
    if beyond == 0:
        return target
    shown = free + _MOST_BEYOND * np.tanh(beyond / _MOST_BEYOND)
    back = matrix(np.array([0, shown - wanted, 0], np.float32))
    return replace(target, rotation=axis_angle(back @ matrix(target.rotation)))


def _yaw(face: FaceParameters) -> float:
    """About the picture's vertical [rad]."""
    forward = matrix(face.rotation)[:, 2]
    return float(np.arctan2(forward[0], forward[2]))
