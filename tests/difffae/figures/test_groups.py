"""Groups of people compared."""

import numpy as np
import pytest

from difffae.figures.groups import Subject, compare


def people(figures: dict[str, list[float]]) -> list[Subject]:
    return [
        Subject(name=f"{label}{k}", media="set", labels={"sex": label}, figures={"identity": value})
        for label, values in figures.items()
        for k, value in enumerate(values)
    ]


def test_a_gap_between_groups_that_never_mix_is_sure_and_named() -> None:
    subjects = people({"a": [0.9, 0.91, 0.92, 0.9], "b": [0.5, 0.52, 0.51, 0.5]})
    (gap,) = compare(subjects, "sex").gaps
    assert (gap.lowest, gap.highest) == ("b", "a")
    assert gap.width == pytest.approx(0.4, abs=1e-6)
    assert gap.is_sure


def test_a_gap_that_chance_gives_is_not_sure() -> None:
    random = np.random.default_rng(0)
    subjects = people({label: list(random.normal(0, 1, 6)) for label in "ab"})
    assert not compare(subjects, "sex").gaps[0].is_sure


def test_groups_of_two_are_shown_and_not_compared() -> None:
    comparison = compare(people({"a": [0.9, 0.8], "b": [0.1, 0.2, 0.3]}), "sex")
    assert [group.num_people for group in comparison.groups] == [2, 3]
    assert comparison.gaps == []


def test_people_who_were_not_measured_do_not_count() -> None:
    subjects = people({"a": [0.5, float("nan"), 0.5, 0.5], "b": [0.5, 0.5, 0.5]})
    comparison = compare(subjects, "sex")
    assert comparison.groups[0].means["identity"] == 0.5
    assert comparison.gaps[0].width == 0


def test_a_label_that_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="Got nobody with a label 'age'"):
        compare(people({"a": [0.5]}), "age")
