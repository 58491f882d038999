"""Groups of people compared: each person's figures in; means, gaps and how sure a gap is out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

LEAST_PEOPLE = 3  # in a group that gaps are looked for between
NUM_SHUFFLES = 2000
SURE_BELOW = 0.05  # share of shuffles with a gap as wide


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One person's figures.

    Attributes:
        name: of the portrait.
        media: the set it is of.
        labels: what groups it is in, by grouping.
        figures: by measure; NaN where not measured.
    """

    name: str
    media: str
    labels: Mapping[str, str]
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The people of one label."""

    label: str
    num_people: int
    means: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far the means of groups lie apart in one measure.

    Attributes:
        measure: which.
        width: between the highest and the lowest group.
        lowest, highest: these groups.
        chance: share of random divisions into groups of these sizes with a gap as wide.
    """

    measure: str
    width: float
    lowest: str
    highest: str
    chance: float

    @property
    def is_sure(self) -> bool:
        """Whether chance alone would seldom give it."""
        return self.chance < SURE_BELOW


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One set of media divided by one grouping."""

    media: str
    grouping: str
    groups: list[Group]
    gaps: list[Gap] = field(default_factory=list)


def compare(subjects: Sequence[Subject], grouping: str, *, seed: int = 0) -> Comparison:
    """Divide people of one set by a label.

    Args:
        subjects: all of one set.
        grouping: name of the label; who has none is left out.
        seed: of the random divisions.

    Raises:
        ValueError: nobody has that label.
    """
    known = [subject for subject in subjects if grouping in subject.labels]
    if not known:
        raise ValueError(f"Got nobody with a label {grouping!r} but expected some")
    labels = sorted({subject.labels[grouping] for subject in known})
    measures = list(known[0].figures)
    groups = []
    for label in labels:
        members = [subject for subject in known if subject.labels[grouping] == label]
        means = {name: _mean([member.figures[name] for member in members]) for name in measures}
        groups.append(Group(label=label, num_people=len(members), means=means))
    compared = {group.label for group in groups if group.num_people >= LEAST_PEOPLE}
    gaps = []
    if len(compared) > 1:
        chosen = [subject for subject in known if subject.labels[grouping] in compared]
        found = (_gap(chosen, grouping, name, seed) for name in measures)
        gaps = [gap for gap in found if gap is not None]
    return Comparison(media=known[0].media, grouping=grouping, groups=groups, gaps=gaps)


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _gap(subjects: Sequence[Subject], grouping: str, measure: str, seed: int) -> Gap | None:
    """The gap in one measure, tested by exchanging labels at random; None where not measured."""
    measured = [subject for subject in subjects if np.isfinite(subject.figures[measure])]
    labels = np.array([subject.labels[grouping] for subject in measured])
    names = sorted(set(labels.tolist()))
    if len(names) < 2:
        return None
    values = np.array([subject.figures[measure] for subject in measured], np.float64)
    means = {name: float(values[labels == name].mean()) for name in names}
    lowest, highest = min(names, key=means.__getitem__), max(names, key=means.__getitem__)
    width = means[highest] - means[lowest]
    generator = np.random.default_rng(seed)
    sizes = [int((labels == name).sum()) for name in names]
    drawn = [_width(generator.permutation(values), sizes) for _ in range(NUM_SHUFFLES)]
    as_wide = sum(each >= width - 1e-12 for each in drawn)
    chance = (as_wide + 1) / (NUM_SHUFFLES + 1)
    return Gap(measure=measure, width=width, lowest=lowest, highest=highest, chance=chance)


def _width(values: Float64[NDArray[np.float64], " n"], sizes: Sequence[int]) -> float:
    ends = np.cumsum(sizes)
    means = [values[end - size : end].mean() for size, end in zip(sizes, ends, strict=True)]
    return float(max(means) - min(means))
