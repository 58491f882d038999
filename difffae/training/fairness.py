"""How much a person's pictures weigh among those of others."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray


def fair_weights(persons: Sequence[str]) -> Float64[NDArray[np.float64], " pictures"]:
    """What each picture weighs, by whose it is: a person weighs as the root of their pictures."""
    _, who, counts = np.unique(persons, return_inverse=True, return_counts=True)
    return np.asarray(counts[who] ** -0.5, np.float64)
