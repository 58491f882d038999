"""Kernel distance of two sets of pictures' features: KID where the features are Inception's.

KID (Bińkowski et al. 2018): the squared maximum mean discrepancy, unbiased, under the kernel
k(x, y) = (x·y / width + 1)³, averaged over random subsets. No unit, often printed × 1000; unlike
FID its expectation does not depend on the number of pictures, and it may be a little below 0.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Real
from numpy.typing import NDArray

from difffae.metrics.frechet import FeatureTable

NUM_SUBSETS = 100
SUBSET_SIZE = 1000

OtherTable = Real[NDArray[np.generic], "m width"]


@dataclass(frozen=True, kw_only=True)
class KernelDistance:
    """Mean and standard deviation over subsets.

    Attributes:
        mean, std: of the subsets' distances; std is 0 for one subset.
        num_subsets, subset_size: how they were drawn; one subset is both sets whole.
    """

    mean: float
    std: float
    num_subsets: int
    subset_size: int


def _kernel(
    features: FeatureTable, others: OtherTable
) -> Float64[NDArray[np.float64], "rows columns"]:
    product = features.astype(np.float64) @ others.astype(np.float64).T
    return np.asarray((product / features.shape[1] + 1) ** 3, np.float64)


def squared_mmd(features: FeatureTable, others: OtherTable) -> float:
    """The unbiased squared maximum mean discrepancy of two sets, not needed to be of one size.

    Raises:
        ValueError: a set has fewer than two pictures.
    """
    first, second = len(features), len(others)
    if min(first, second) < 2:
        raise ValueError(f"Got {first} and {second} pictures; each set needs 2: measure more")
    within, across = _kernel(features, features), _kernel(features, others)
    within_others = _kernel(others, others)
    own = (within.sum() - np.trace(within)) / (first * (first - 1))
    own_others = (within_others.sum() - np.trace(within_others)) / (second * (second - 1))
    return float(own + own_others - 2 * across.mean())


def kernel_distance(
    features: FeatureTable,
    others: OtherTable,
    *,
    num_subsets: int = NUM_SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> KernelDistance:
    """The kernel distance; sets not larger than a subset are compared whole, once.

    Raises:
        ValueError: a set has fewer than two pictures.
    """
    if min(len(features), len(others)) <= subset_size:
        whole = squared_mmd(features, others)
        size = min(len(features), len(others))
        return KernelDistance(mean=whole, std=0.0, num_subsets=1, subset_size=size)
    generator = np.random.default_rng(seed)
    distances = [
        squared_mmd(
            features[generator.choice(len(features), subset_size, replace=False)],
            others[generator.choice(len(others), subset_size, replace=False)],
        )
        for _ in range(num_subsets)
    ]
    return KernelDistance(
        mean=float(np.mean(distances)),
        std=float(np.std(distances)),
        num_subsets=num_subsets,
        subset_size=subset_size,
    )
