"""Fréchet distance of two sets of pictures' features: FID where the features are Inception's.

FID (Heusel et al. 2017, eq. 6): |m1 - m2|² + Tr(C1 + C2 - 2 (C1 C2)^1/2) of the features' means
and covariances (divided by N - 1, as pytorch-fid does). No unit; 0 for equal sets. It is called FID
only on the 2048 features of `difffae.metrics.inception`; on other features it is a Fréchet distance
(FD) of its own scale.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Real
from numpy.typing import NDArray

FULL_RANK_PICTURES = 2048  # fewer give Inception's covariance a null space: FID is then too large

FeatureTable = Real[NDArray[np.generic], "n width"]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What the Fréchet distance knows of a set."""

    num: int
    mean: Float64[NDArray[np.float64], " width"]
    covariance: Float64[NDArray[np.float64], "width width"]


def moments(features: FeatureTable) -> Moments:
    """Mean and covariance of a set of features, one picture a row.

    Raises:
        ValueError: fewer than two pictures, or values that are not finite.
    """
    table = features.astype(np.float64)
    if len(table) < 2:
        raise ValueError(f"Got {len(table)} pictures; a covariance needs at least 2: measure more")
    if not np.isfinite(table).all():
        raise ValueError("Got features that are not finite: check the pictures and the weights")
    mean = table.mean(0)
    centred = table - mean
    return Moments(num=len(table), mean=mean, covariance=centred.T @ centred / (len(table) - 1))


def frechet_distance(one: Moments, other: Moments) -> float:
    """Fréchet distance of two normal distributions.

    Tr (C1 C2)^1/2 is the sum of the square roots of the eigenvalues of C1^1/2 C2 C1^1/2, which is
    symmetric: covariances without full rank need no offset, unlike with a general matrix root.
    """
    values, vectors = np.linalg.eigh(one.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    eigenvalues = np.linalg.eigvalsh(root @ other.covariance @ root)
    crossed = float(np.sqrt(np.maximum(eigenvalues, 0)).sum())
    shift = float(np.square(one.mean - other.mean).sum())
    spread = float(np.trace(one.covariance) + np.trace(other.covariance))
    return max(shift + spread - 2 * crossed, 0.0)
