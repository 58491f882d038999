"""Measurements of frames gathered into those of a clip, of a person, of a method."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from difffae.metrics.motion import SIGNALS

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Figures of one method on a clip, a person or all people; NaN where not measured."""

    psnr_db: float = NAN
    face_psnr_db: float = NAN
    ssim: float = NAN
    feature_distance: float = NAN
    lpips: float = NAN  # AlexNet v0.1, with the user's weights only
    identity: float = NAN  # cosine to the true frame (self) or to the source (cross)
    csim: float = NAN  # cosine to the source, whatever the protocol
    apd_rad: float = NAN  # the paper's attributes, see their modules
    apd_deg: float = NAN
    aed: float = NAN
    aed_jaw: float = NAN
    ald: float = NAN
    temporal: float = NAN  # tLP, or tFD where no LPIPS weights are given
    pose_error_deg: float = NAN
    expression_error: float = NAN
    correlation: float = NAN  # mean over the signals that the driver moves
    change: float = NAN  # frame to frame, relative to the driver's own
    tracked: float = NAN  # share of frames in which a face was found
    signals: tuple[float, ...] = (NAN,) * len(SIGNALS)  # correlation of each


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """The mean of each figure over those that have it."""
    names = [each.name for each in fields(Scores)]
    means: dict[str, Any] = {name: _mean([getattr(s, name) for s in scores]) for name in names}
    return Scores(**means)


def _mean(values: Sequence[float | tuple[float, ...]]) -> float | tuple[float, ...]:
    table = np.array(values, np.float64)
    counts = np.isfinite(table).sum(0)
    sums = np.where(np.isfinite(table), table, 0).sum(0)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return tuple(means.tolist()) if means.ndim else float(means)


@dataclass(frozen=True, kw_only=True)
class PersonScores:
    """A person's figures (means over the clips) and those of all people.

    Attributes:
        people: by person.
        mean: over people.
        videos: mean over videos, as the paper's lineage does (model.md 5.2).
        num_videos: how many.
    """

    people: dict[str, Scores]
    mean: Scores
    videos: Scores = field(default_factory=Scores)
    num_videos: int = 0


def by_person(clips: Iterable[tuple[str, Scores]]) -> PersonScores:
    """Clips to people, people to one row: a person with many clips weighs no more than another."""
    grouped: dict[str, list[Scores]] = {}
    for person, scores in clips:
        grouped.setdefault(person, []).append(scores)
    videos = [scores for listed in grouped.values() for scores in listed]
    people = {person: mean_scores(scores) for person, scores in grouped.items()}
    return PersonScores(
        people=people,
        mean=mean_scores(list(people.values())),
        videos=mean_scores(videos),
        num_videos=len(videos),
    )
