"""Are the outputs, as a set, like real pictures: FID and KID of each row against real frames."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from difffae.metrics.embedding import PictureEmbedding, PictureFeatures
from difffae.metrics.frechet import (
    FULL_RANK_PICTURES,
    FeatureTable,
    Moments,
    frechet_distance,
    moments,
)
from difffae.metrics.kernel_distance import OtherTable, kernel_distance

KERNEL_SCALE = 1000.0  # KID is printed × 1000


@dataclass(frozen=True, kw_only=True)
class Realism:
    """One row's set against the real set.

    Attributes:
        frechet: FID (or the stand-in's distance); NaN for fewer than two pictures.
        kernel, kernel_std: KID × 1000, mean and standard deviation over subsets.
        num_outputs, num_real: how many pictures.
        num_subsets, subset_size: of the kernel distance.
    """

    frechet: float = float("nan")
    kernel: float = float("nan")
    kernel_std: float = float("nan")
    num_outputs: int = 0
    num_real: int = 0
    num_subsets: int = 0
    subset_size: int = 0


@dataclass(kw_only=True)
class _Sets:
    real: list[PictureFeatures] = field(default_factory=list)
    rows: dict[str, list[PictureFeatures]] = field(default_factory=dict)


class RealismMeter:
    """Gathers features of real frames and of each row's outputs, protocol by protocol."""

    def __init__(self, embedding: PictureEmbedding, *, seed: int = 0) -> None:
        """Begin.

        Args:
            embedding: what pictures are compared by.
            seed: draws the kernel distance's subsets.
        """
        self.embedding = embedding
        self._seed = seed
        self._sets: dict[str, _Sets] = {}

    def add_real(self, protocol: str, features: PictureFeatures) -> None:
        """Take a real frame's features.

        Raises:
            ValueError: they are not finite.
        """
        self._check(features)
        self._sets.setdefault(protocol, _Sets()).real.append(features)

    def add(self, protocol: str, row: str, features: PictureFeatures) -> None:
        """Take an output's features.

        Raises:
            ValueError: they are not finite.
        """
        self._check(features)
        self._sets.setdefault(protocol, _Sets()).rows.setdefault(row, []).append(features)

    def _check(self, features: PictureFeatures) -> None:
        if not np.isfinite(features).all():
            raise ValueError(
                f"Got features that are not finite from {self.embedding.name}: its weights are "
                "damaged, fetch them again"
            )

    def results(self) -> Mapping[str, Mapping[str, Realism]]:
        """The distances by protocol and row."""
        return {
            protocol: self._of_protocol(sets) for protocol, sets in self._sets.items() if sets.rows
        }

    def _of_protocol(self, sets: _Sets) -> dict[str, Realism]:
        real = np.stack(sets.real) if len(sets.real) > 1 else None
        known = None if real is None else moments(real)
        return {
            row: Realism(num_outputs=len(features), num_real=len(sets.real))
            if real is None or known is None or len(features) < 2
            else self._compare(np.stack(features), real, known)
            for row, features in sets.rows.items()
        }

    def _compare(self, outputs: FeatureTable, real: OtherTable, known: Moments) -> Realism:
        kernel = kernel_distance(outputs, real, seed=self._seed)
        return Realism(
            frechet=frechet_distance(moments(outputs), known),
            kernel=KERNEL_SCALE * kernel.mean,
            kernel_std=KERNEL_SCALE * kernel.std,
            num_outputs=len(outputs),
            num_real=len(real),
            num_subsets=kernel.num_subsets,
            subset_size=kernel.subset_size,
        )


def warnings(results: Mapping[str, Mapping[str, Realism]]) -> list[str]:
    """What sets too small for a covariance, or for one of full rank, mean for the figures."""
    fewest = {
        protocol: min(min(row.num_outputs, row.num_real) for row in rows.values())
        for protocol, rows in results.items()
    }
    none = [f"{protocol} {num}" for protocol, num in fewest.items() if num < 2]
    few = [f"{name} {num}" for name, num in fewest.items() if 2 <= num < FULL_RANK_PICTURES]
    sentences = []
    if none:
        sentences.append(
            f"Too few pictures for a covariance, so no Fréchet distance ({', '.join(none)}): "
            "measure 2 frames or more"
        )
    if few:
        sentences.append(
            f"Fewer than {FULL_RANK_PICTURES} pictures ({', '.join(few)}): the Fréchet distance is "
            "too large, so compare it within this run only, or read the kernel distance"
        )
    return sentences
