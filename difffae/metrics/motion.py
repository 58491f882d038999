"""Does the face do what the driver's does: mesh points in; angles, openings and agreement out.

Everything is measured against a reference frame of the same person (the portrait, or the driver's
first frame): a similarity fitted to points that no muscle moves (forehead, temples, nose) gives the
head's rotation since the reference, and undoing it leaves the expression. Distances are in units of
those points' RMS radius, angles in degrees.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation as SpatialRotation

from difffae.arrays import Points3

SIGNALS = ("mouth opening", "mouth width", "right lid", "left lid", "yaw", "pitch", "roll")
# A driver's signal below this standard deviation over the clip is called still and not counted:
# about three times the mesh's median noise on val clips (0.010, 0.010, 0.005, 0.004, 0.3 degrees).
STILL_BELOW = (0.03, 0.03, 0.015, 0.015, 1.0, 1.0, 1.0)

NUM_MESH_POINTS = 468  # without irises
# fmt: off
RIGID_POINTS = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 109, 67, 103, 54, 21, 162, 127, 234, 151, 108, 337,
    69, 299, 104, 333, 8, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 94, 19, 33, 133, 362, 263,
)
# fmt: on
UPPER_LIP, LOWER_LIP, MOUTH_RIGHT, MOUTH_LEFT = (
    13,
    14,
    61,
    291,
)  # inner lips; the person's own right
RIGHT_LIDS = ((160, 144), (159, 145), (158, 153))  # upper, lower
LEFT_LIDS = ((385, 380), (386, 374), (387, 373))
EYE_RIGHT, EYE_LEFT, FOREHEAD, CHIN = 33, 263, 10, 152

Matrix3 = Float[NDArray[np.float64], "3 3"]
Shape = Float[NDArray[np.float64], "p 3"]
Signals = Float[NDArray[np.float64], " signals"]
SignalTable = Float[NDArray[np.float64], "frames signals"]


@dataclass(frozen=True, kw_only=True)
class HeadMotion:
    """One frame, measured against a reference of the same person."""

    rotation: Matrix3  # since the reference, in the camera's axes
    change: Shape  # of the 468 points since the reference, in the head's axes
    signals: Signals  # in the order of SIGNALS


def _head_axes(points: Shape) -> Matrix3:
    """Rows: toward the person's left eye, toward the chin, away from the camera; orthonormal."""
    across = points[EYE_LEFT] - points[EYE_RIGHT]
    across = across / np.linalg.norm(across)
    down = points[CHIN] - points[FOREHEAD]
    down = down - across * (down @ across)
    down = down / np.linalg.norm(down)
    return np.stack([across, down, np.cross(across, down)])


def _openings(shape: Shape) -> list[float]:
    """Mouth opening and width, right and left lid opening, from points in the head's axes."""

    def lid(pairs: tuple[tuple[int, int], ...]) -> float:
        return float(np.mean([shape[lower, 1] - shape[upper, 1] for upper, lower in pairs]))

    mouth_opening = float(shape[LOWER_LIP, 1] - shape[UPPER_LIP, 1])
    mouth_width = float(shape[MOUTH_LEFT, 0] - shape[MOUTH_RIGHT, 0])
    return [mouth_opening, mouth_width, lid(RIGHT_LIDS), lid(LEFT_LIDS)]


class HeadReference:
    """The frame that a person's motion is measured against."""

    def __init__(self, points: Points3) -> None:
        """Take the reference from its mesh points (468 or 478) [px]."""
        mesh = points[:NUM_MESH_POINTS].astype(np.float64)
        rigid = mesh[list(RIGID_POINTS)]
        self._axes = _head_axes(mesh)
        self._rigid = rigid - rigid.mean(0)
        self._shape = self._normalised(mesh, np.eye(3))

    def _normalised(self, mesh: Shape, rotation: Matrix3) -> Shape:
        """Centred, turned back, in the head's axes, in units of the rigid points' RMS radius."""
        rigid = mesh[list(RIGID_POINTS)]
        centred = rigid - rigid.mean(0)
        radius = np.sqrt(np.square(centred).sum(1).mean())
        turned: Shape = (mesh - rigid.mean(0)) @ rotation @ self._axes.T / radius
        return turned

    def measure(self, points: Points3) -> HeadMotion:
        """The motion of a frame of the same person, from its mesh points [px]."""
        mesh = points[:NUM_MESH_POINTS].astype(np.float64)
        rigid = mesh[list(RIGID_POINTS)]
        fitted, _ = SpatialRotation.align_vectors(rigid - rigid.mean(0), self._rigid)
        rotation = np.asarray(fitted.as_matrix(), np.float64)
        shape = self._normalised(mesh, rotation)
        angles = fitted.as_euler("YXZ", degrees=True)
        return HeadMotion(
            rotation=rotation,
            change=shape - self._shape,
            signals=np.array([*_openings(shape), *angles], np.float64),
        )

    def rest(self) -> HeadMotion:
        """The motion of the reference itself: none."""
        return HeadMotion(
            rotation=np.eye(3),
            change=np.zeros_like(self._shape),
            signals=np.array([*_openings(self._shape), 0, 0, 0], np.float64),
        )


def pose_error_deg(output: HeadMotion, driver: HeadMotion) -> float:
    """Angle between the two rotations since their references [deg]."""
    between = SpatialRotation.from_matrix(output.rotation @ driver.rotation.T)
    return float(np.degrees(between.magnitude()))


def expression_error(output: HeadMotion, driver: HeadMotion) -> float:
    """Mean distance, across and down, of the points' changes since their references [RMS radii]."""
    return float(np.linalg.norm((output.change - driver.change)[:, :2], axis=1).mean())


def correlations(output: SignalTable, driver: SignalTable) -> Signals:
    """Pearson correlation of each signal over a clip's frames, in the order of SIGNALS.

    Returns:
        (7,): NaN where the driver is still (see STILL_BELOW), 0 where only the output is.
    """
    answer = np.full(len(SIGNALS), np.nan)
    if len(driver) < 3:
        return answer
    for column, still in enumerate(STILL_BELOW):
        mine, wanted = output[:, column], driver[:, column]
        if wanted.std() < still:
            continue
        answer[column] = 0.0 if mine.std() < 1e-9 else np.corrcoef(mine, wanted)[0, 1]
    return answer
