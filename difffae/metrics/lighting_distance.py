"""Average lighting distance (ALD): how far an output's light is from what was asked for.

The mean absolute difference of the 27 spherical-harmonic coefficients (9 × RGB) in DECA's order and
scale (model.md 3.4, 5.2). No paper stores a definition; table 1's magnitude of 0.15 fits this one.
No unit: with the stand-in rig a shading of mean 1, with DECA the light that its albedo leaves. A
mean over frames, then over videos.
"""

import numpy as np

from difffae.arrays import Lighting


def ald(output: Lighting, asked: Lighting) -> float:
    """Mean absolute difference of the 27 coefficients."""
    return float(np.abs(output.astype(np.float64) - asked).mean())
