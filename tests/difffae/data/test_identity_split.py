"""People divided into train and test."""

import json
from pathlib import Path

import pytest

from difffae.data.identity_split import IdentitySplit, load_split, save_split, split_people

PEOPLE = [f"id{number:05d}" for number in range(10001, 10438)]  # as many as the real table has


def test_the_tables_437_people_are_divided_350_to_87_and_none_is_in_both() -> None:
    split = split_people(PEOPLE, 0)
    assert (len(split.train), len(split.test)) == (350, 87)
    assert split.train | split.test == set(PEOPLE)
    assert not split.train & split.test


@pytest.mark.parametrize("count", range(1, 26))
def test_the_share_holds_at_every_count(count: int) -> None:
    split = split_people(PEOPLE[:count], 3)
    assert len(split.test) == round(0.2 * count)


def test_the_division_depends_on_the_seed_and_not_on_the_order() -> None:
    split = split_people(PEOPLE, 7)
    assert split_people(list(reversed(PEOPLE)), 7) == split
    assert split_people(PEOPLE, 8) != split


def test_test_people_are_spread_over_the_names() -> None:
    test = split_people(PEOPLE, 0).test
    quarters = [sum(person in test for person in PEOPLE[k::4]) for k in range(4)]
    halves = [len(test & set(PEOPLE[:218])), len(test & set(PEOPLE[218:]))]
    assert min(quarters) > 10
    assert min(halves) > 25


def test_who_is_listed_stays_when_people_are_added() -> None:
    first = split_people(PEOPLE[100:300], 0)
    second = split_people(PEOPLE, 0, first)
    assert first.train <= second.train
    assert first.test <= second.test
    assert (len(second.train), len(second.test)) == (350, 87)


def test_lists_and_counts_are_stored_and_read_back(tmp_path: Path) -> None:
    split = split_people(PEOPLE[:10], 0)
    save_split(tmp_path, split, 0, {"population": "ten people"})
    assert load_split(tmp_path, 0) == split
    assert (tmp_path / "test.txt").read_text("utf-8").split() == sorted(split.test)
    stored = json.loads((tmp_path / "split.json").read_text("utf-8"))
    assert stored["seed"] == 0
    assert stored["people"] == {"train": 8, "test": 2}
    assert stored["population"] == "ten people"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "split.json",
        "test.txt",
        "train.txt",
    ]


def test_another_seed_or_changed_lists_are_refused(tmp_path: Path) -> None:
    assert load_split(tmp_path, 0) is None
    save_split(tmp_path, split_people(PEOPLE[:10], 0), 0, {})
    with pytest.raises(ValueError, match="made with seed 0, not 1: give --seed 0"):
        load_split(tmp_path, 1)
    with (tmp_path / "test.txt").open("a") as file:
        file.write((tmp_path / "train.txt").read_text("utf-8").splitlines()[0] + "\n")
    with pytest.raises(ValueError, match="restore the files"):
        load_split(tmp_path, 0)


def test_a_person_who_was_never_divided_has_no_part() -> None:
    split = IdentitySplit(train=frozenset({"a"}), test=frozenset({"b"}))
    assert (split.part_of("a"), split.part_of("b")) == ("train", "test")
    with pytest.raises(ValueError, match="'c' in neither list"):
        split.part_of("c")
