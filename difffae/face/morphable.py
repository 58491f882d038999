"""What a morphable head model (3DMM) says of one picture's face."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Points3
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
