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
    whole = np.ascontiguousarray(below)
    _lay_over(whole, np.ascontiguousarray(above), np.ascontiguousarray(share))
    if whole is not below:
        below[:] = whole


@numba.njit(cache=True, nogil=True)
def _lay_over(below, above, share):  # type: ignore[no-untyped-def]
    """Row by row, over all of its colours alike: processors mix many of them at once."""
    width = share.shape[1]
    weights = np.empty(3 * width, np.float32)
    for row in range(len(share)):
        for column in range(width):
            for n in range(3):
                weights[3 * column + n] = share[row, column]
        lower, upper = below[row].reshape(-1), above[row].reshape(-1)
        for k in range(3 * width):
            value = np.float32(lower[k])
            value += weights[k] * (np.float32(upper[k]) - value)
            lower[k] = np.uint8(np.int32(value + np.float32(0.5)))
