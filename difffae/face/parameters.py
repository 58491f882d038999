"""What a face is described by, and how a driver's motion moves a source's parameters."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

Motion = Literal["relative", "absolute"]
Vector = Float32[NDArray[np.float32], " n"]


@dataclass(frozen=True, kw_only=True)
class FaceParameters:
    """One face in one picture, in a linear head model's terms (3DMM, paper section 3).

    Attributes:
        shape: identity coefficients, in standard deviations.
        expression: expression coefficients, in standard deviations.
        gaze: each iris centre from the middle of its eye's corners, x and y, left eye of the
            picture first [head units].
        rotation: head to camera, axis-angle [rad].
        scale: pixels per head unit.
        translation: where the head's origin is in the picture [px].
    """

    shape: Float32[NDArray[np.float32], " shape"]
    expression: Float32[NDArray[np.float32], " expression"]
    gaze: Float32[NDArray[np.float32], " 4"]
    rotation: Float32[NDArray[np.float32], " 3"]
    scale: float
    translation: Float32[NDArray[np.float32], " 2"]

    def motion_vector(self) -> Vector:
        """All that moves, as one vector: expression, gaze, rotation, log scale, translation."""
        rest = [np.log(self.scale), *self.translation]
        parts = [self.expression, self.gaze, self.rotation, np.array(rest, np.float32)]
        return np.asarray(np.concatenate(parts), np.float32)

    def with_motion(self, vector: Vector) -> "FaceParameters":
        """The same face with the motion of a vector made by `motion_vector`."""
        size = len(self.expression)
        expression, gaze, rotation, rest = np.split(vector, [size, size + 4, size + 7])
        return FaceParameters(
            shape=self.shape,
            expression=expression,
            gaze=gaze,
            rotation=rotation,
            scale=float(np.exp(rest[0])),
            translation=rest[1:],
        )


def matrix(rotation: Float32[NDArray[np.float32], " 3"]) -> Float32[NDArray[np.float32], "3 3"]:
    """The rotation matrix of an axis-angle vector [rad]."""
    return np.asarray(cv2.Rodrigues(rotation.astype(np.float64))[0], np.float32)


def axis_angle(rotation: Float32[NDArray[np.float32], "3 3"]) -> Float32[NDArray[np.float32], " 3"]:
    """The axis-angle vector [rad] of a rotation matrix."""
    return np.asarray(cv2.Rodrigues(rotation.astype(np.float64))[0][:, 0], np.float32)


def retarget(
    source: FaceParameters,
    driver: FaceParameters,
    reference: FaceParameters,
    *,
    motion: Motion,
    strength: float,
    is_framed_alike: bool,
) -> FaceParameters:
    """Move the source's face as the driver's moves; the source's shape stays.

    Relative motion adds to the source what has changed in the driver since the reference: the
    expression, the turn of the head, its shift in units of head size, and its growth. Absolute
    motion takes the driver's expression and pose as they are, and the place too where both are
    framed alike.

    Args:
        source: the portrait's face, in the pixels of its crop.
        driver: the driver's face now, in the same pixels once both pictures are laid over each
            other.
        reference: the driver's face in the reference frame, in the driver's pixels.
        motion: which of the two.
        strength: share of the way from the source to the moved face, 1 the full motion.
        is_framed_alike: whether an absolute head goes where the driver's is.
    """
    growth = driver.scale / reference.scale
    shift = (driver.translation - reference.translation) / reference.scale
    scale, translation = source.scale * growth, source.translation + shift * source.scale
    if motion == "absolute":
        expression, gaze, rotation = driver.expression, driver.gaze, driver.rotation
        if is_framed_alike:
            scale, translation = driver.scale, driver.translation
    else:
        expression = source.expression + driver.expression - reference.expression
        gaze = source.gaze + driver.gaze - reference.gaze
        turn = matrix(driver.rotation) @ matrix(reference.rotation).T
        rotation = axis_angle(turn @ matrix(source.rotation))
    moved = FaceParameters(
        shape=source.shape,
        expression=expression,
        gaze=gaze,
        rotation=rotation,
        scale=float(scale),
        translation=translation.astype(np.float32),
    )
    start = source.motion_vector()
    return source.with_motion(start + np.float32(strength) * (moved.motion_vector() - start))
