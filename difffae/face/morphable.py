"""What a head model does: fits parameters to tracked points, and makes points from parameters."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Points3, Triangles
from difffae.face.parameters import FaceParameters

EyeOpenings = Float32[NDArray[np.float32], " 2"]


@dataclass(frozen=True, kw_only=True)
class FittedFace:
    """A face as the head model explains it, and what of its shape the model leaves over.

    Attributes:
        parameters: the explanation.
        residual: tracked minus explained points, in head units and the head's own axes. It is the
            person's own and moves rigidly with the head.
    """

    parameters: FaceParameters
    residual: Points3


class HeadModel(Protocol):
    """A morphable model of the head (3DMM): shape, expression and pose to mesh points."""

    @property
    def triangles(self) -> Triangles:
        """Corner indices of the mesh's triangles."""
        ...

    def fit(self, points: Points3) -> FittedFace:
        """Explain one picture's points alone: shape, expression and pose together."""
        ...

    def track(self, points: Points3, person: FaceParameters) -> FaceParameters:
        """Explain points of a known person: shape is `person`'s, expression and pose are found."""
        ...

    def pose(self, parameters: FaceParameters, residual: Points3) -> Points3:
        """The mesh points [px] of parameters and the person's own residual."""
        ...

    def eye_openings(self, parameters: FaceParameters) -> EyeOpenings:
        """How far each eye is open [head units], the picture's left one first."""
        ...

    def open_eyes(self, parameters: FaceParameters, change: EyeOpenings) -> FaceParameters:
        """The face with its eyes opened further by that much, in its most probable way."""
        ...
