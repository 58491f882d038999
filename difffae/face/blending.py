"""One picture over another."""

import numba
import numpy as np

from difffae.arrays import ImageU8, MaskF32


def lay_over(below: ImageU8, above: ImageU8, share: MaskF32) -> None:
    """Lay a picture over another of its size, which it changes.

    Args:
        below: what is seen where the upper picture does not cover it; written.
        above: the upper picture.
        share: how much that covers, in [0, 1].
    """
    _lay_over(below, above, share)


@numba.njit(cache=True, nogil=True)
def _lay_over(below, above, share):  # type: ignore[no-untyped-def]
    """Most pixels are of the one or of the other: they take a third of a blend's time."""
    for row in range(below.shape[0]):
        for column in range(below.shape[1]):
            weight = share[row, column]
            if weight >= 1:
                for n in range(3):
                    below[row, column, n] = above[row, column, n]
            elif weight > 0:
                for n in range(3):
                    value = np.float32(below[row, column, n])
                    value += weight * (np.float32(above[row, column, n]) - value)
                    below[row, column, n] = np.uint8(value + np.float32(0.5))
