"""Average expression distance (AED): how far an output's expression is from what was asked for.

The mean absolute difference of the expression coefficients [standard deviations of the rig's head
model] (model.md 5.2): DECA's 50 with FLAME, the bundled head model's with the stand-in. Where a
rig's expression ends with the jaw (FLAME: 3 axis-angle components), the jaw is left out and
reported apart [rad]. A mean over frames, then over videos.
"""

import numpy as np

from difffae.face.parameters import FaceParameters


def aed(output: FaceParameters, asked: FaceParameters, *, num_jaw: int = 0) -> float:
    """Mean absolute difference of the expression coefficients, without the jaw.

    Args:
        output: read from the output.
        asked: what it should show.
        num_jaw: how many of the last expression values are the jaw's.
    """
    difference = output.expression.astype(np.float64) - asked.expression
    return float(np.abs(difference[: len(difference) - num_jaw]).mean())


def aed_jaw(output: FaceParameters, asked: FaceParameters, *, num_jaw: int) -> float:
    """Mean absolute difference of the jaw's axis-angle components [rad]; NaN without a jaw."""
    if not num_jaw:
        return float("nan")
    difference = output.expression.astype(np.float64) - asked.expression
    return float(np.abs(difference[-num_jaw:]).mean())
