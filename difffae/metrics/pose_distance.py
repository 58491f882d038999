"""Average pose distance (APD): how far an output's head is turned from what was asked for.

Two readings of the paper's APD (table 1 names no formula; model.md 5.2): (a) the mean absolute
difference of the three axis-angle components [rad], as of DECA's global pose; (b) the angle of the
rotation between the two [degrees]. A mean over frames, then over videos.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from difffae.face.parameters import FaceParameters


def apd_rad(output: FaceParameters, asked: FaceParameters) -> float:
    """Mean absolute difference of the axis-angle components [rad]."""
    difference = output.rotation.astype(np.float64) - asked.rotation
    return float(np.abs(difference).mean())


def apd_deg(output: FaceParameters, asked: FaceParameters) -> float:
    """Angle between the two rotations [degrees]."""
    first = Rotation.from_rotvec(output.rotation.astype(np.float64))
    second = Rotation.from_rotvec(asked.rotation.astype(np.float64))
    return float(np.degrees((first * second.inv()).magnitude()))
