"""Fairness told: tables of groups and the gaps by name, in Markdown."""

import math
from collections.abc import Sequence

from difffae.figures.fairness import Fairness
from difffae.figures.groups import LEAST_PEOPLE, NUM_SHUFFLES, SURE_BELOW, Comparison, Gap


def table_lines(comparisons: Sequence[Comparison]) -> list[str]:
    """A table for each set, its groups below one another."""
    lines: list[str] = []
    for media in dict.fromkeys(each.media for each in comparisons):
        chosen = [each for each in comparisons if each.media == media]
        measures = list(chosen[0].groups[0].means)
        lines += ["", f"**{media}**", ""]
        lines.append("| grouped by | group | people | " + " | ".join(measures) + " |")
        lines.append("|---|---|---:|" + "---:|" * len(measures))
        for comparison in chosen:
            for group in comparison.groups:
                figures = " | ".join(_number(group.means[name]) for name in measures)
                start = f"| {comparison.grouping} | {group.label} | {group.num_people} | "
                lines.append(f"{start}{figures} |")
    return lines[1:]


def gap_lines(fairness: Fairness) -> list[str]:
    """The gaps that chance alone would seldom give, by name; then how many there are others."""
    sure = [(each, gap) for each in fairness.comparisons for gap in each.gaps if gap.is_sure]
    tested = sum(len(each.gaps) for each in fairness.comparisons)
    lines = [f"- {each.media}, {_told(each, gap)}" for each, gap in sure]
    if not sure:
        lines.append("- No gap is wider than chance alone would give with so few people.")
    lines += ["", _odds(len(sure), tested)]
    unsure = [(each, gap) for each in fairness.comparisons for gap in each.gaps if not gap.is_sure]
    if unsure:
        told = "; ".join(f"{each.media}, {_told(each, gap)}" for each, gap in unsure)
        lines += ["", f"Not told apart from chance: {told}."]
    return lines


def _odds(num_sure: int, num_tested: int) -> str:
    """How many gaps there would be by chance."""
    return (
        f"{num_sure} of {num_tested} gaps, between groups of {LEAST_PEOPLE} people or more, are "
        f"wider than {100 - 100 * SURE_BELOW:.0f} % of {NUM_SHUFFLES} random divisions of the same "
        f"people give; of {num_tested} tests about {num_tested * SURE_BELOW:.0f} would be by "
        "chance."
    )


def _told(comparison: Comparison, gap: Gap) -> str:
    return (
        f"{gap.measure} by {comparison.grouping}: {gap.width:.3f} between {gap.lowest} (lowest) "
        f"and {gap.highest} (highest), chance {gap.chance:.3f}"
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
