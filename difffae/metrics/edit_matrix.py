"""The figures of the disentanglement protocol: edits by attributes, and their natural spread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType

import numpy as np

NAN = float("nan")
ATTRIBUTES = ("pose", "expression", "light", "shape")
NOTHING = "nothing"
# What each edit takes from the query; shape is never edited.
EDITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        NOTHING: (),
        "pose": ("pose",),
        "expression": ("expression",),
        "light": ("light",),
        "all three": ("pose", "expression", "light"),
    }
)


@dataclass(frozen=True, kw_only=True)
class AttributeDistances:
    """Distances between two faces, attribute by attribute, and their likeness.

    Attributes:
        pose: angle between the rotations [degrees].
        expression: AED, without the jaw [standard deviations].
        light: ALD.
        shape: mean absolute difference of the shape coefficients [standard deviations].
        csim: cosine of the face embeddings, raw; no distance: 1 is the same face.
    """

    pose: float = NAN
    expression: float = NAN
    light: float = NAN
    shape: float = NAN
    csim: float = NAN


@dataclass(frozen=True, kw_only=True)
class Moved:
    """An edit's figures over all cases.

    Attributes:
        pose, expression, light, shape: share of the way where the attribute was edited, else the
            change over the natural spread.
        csim: by how much the cosine to the source fell.
    """

    pose: float = NAN
    expression: float = NAN
    light: float = NAN
    shape: float = NAN
    csim: float = NAN


@dataclass(frozen=True, kw_only=True)
class EditMatrix:
    """The edits of all cases.

    Attributes:
        rows: by row and edit.
        spread: mean distance between source and query: the attribute's natural spread.
        num_pairs, num_queries: pairs of clips, and frames of them.
        moved: by row and edit, how far it went and what it took along.
    """

    rows: Mapping[str, Mapping[str, AttributeDistances]]
    spread: AttributeDistances
    num_pairs: int
    num_queries: int
    moved: Mapping[str, Mapping[str, Moved]] = field(default_factory=dict)


def mean_distances(distances: Sequence[AttributeDistances]) -> AttributeDistances:
    """The mean of each figure over those that have it."""
    names = [each.name for each in fields(AttributeDistances)]
    table = np.array([[getattr(each, name) for name in names] for each in distances], np.float64)
    counts = np.isfinite(table).sum(0)
    sums = np.where(np.isfinite(table), table, 0).sum(0)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return AttributeDistances(**dict(zip(names, means.tolist(), strict=True)))


def mean_rows(
    measured: Sequence[Mapping[str, Mapping[str, AttributeDistances]]],
) -> dict[str, dict[str, AttributeDistances]]:
    """The mean of each row's edits."""
    return {
        row: {edit: mean_distances([each[row][edit] for each in measured]) for edit in edits}
        for row, edits in measured[0].items()
    }


def relative(distance: float, spread: float) -> float:
    """A distance over the attribute's natural spread; NaN where that is 0."""
    return distance / spread if spread > 0 else NAN


def target(edit: str, attribute: str) -> str:
    """Whose attribute an edit's output should show: the query's or the source's."""
    return "query" if attribute in EDITS[edit] else "source"
