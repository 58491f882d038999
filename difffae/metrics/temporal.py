"""tLP: does an output change from frame to frame as much, to the eye, as the real video does.

tLP = 100 · mean over neighbouring pairs of |LPIPS(o(t-1), o(t)) - LPIPS(r(t-1), r(t))|, o the
output and r the real video: the truth in self-reenactment, the driver otherwise (Chu et al. 2020,
TecoGAN, with its scale of 100). 0: flickers neither more nor less. With another feature distance in
LPIPS's place it bears that distance's name, tFD.
"""

import numpy as np

SCALE = 100.0


class TemporalMeter:
    """Gathers the changes of an output and of the real video, pair by pair."""

    def __init__(self) -> None:
        self._differences: list[float] = []

    def add(self, output_change: float, real_change: float) -> None:
        """Take the distance between two neighbouring frames, of the output and of the real one."""
        difference = abs(output_change - real_change)
        if np.isfinite(difference):
            self._differences.append(difference)

    def value(self) -> float:
        """TLP so far; NaN without a pair."""
        return SCALE * float(np.mean(self._differences)) if self._differences else float("nan")
