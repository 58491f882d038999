"""What of a face is not geometry: the light on it, and a texture model's codes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from difffae.arrays import Lighting


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """How a face looks, in the terms of the paper's renderer R (eq. 3).

    Attributes:
        lighting: second-order spherical harmonics; see `difffae.face.lighting`.
        albedo: coefficients of a texture model; None where the texture is the portrait's own.
        detail: code of the fine geometry (DECA); None where there is none.
    """

    lighting: Lighting
    albedo: Float32[NDArray[np.float32], " albedo"] | None = None
    detail: Float32[NDArray[np.float32], " detail"] | None = None
