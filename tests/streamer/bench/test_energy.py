"""Joules are sums over packages, counters that began again are followed, and nothing is guessed."""

from pathlib import Path

import pytest

from streamer.bench.energy import Counter, joules_between, read_counters


def write_zone(root: Path, name: str, stands_uj: str, range_uj: str = "1000000") -> None:
    (root / name).mkdir()
    (root / name / "energy_uj").write_text(stands_uj + "\n", "utf-8")
    (root / name / "max_energy_range_uj").write_text(range_uj + "\n", "utf-8")


def test_whole_packages_are_read_and_their_parts_are_not(tmp_path: Path) -> None:
    write_zone(tmp_path, "intel-rapl:0", "5")
    write_zone(tmp_path, "intel-rapl:1", "7")
    write_zone(tmp_path, "intel-rapl:0:0", "3")
    assert read_counters(tmp_path) == {
        "intel-rapl:0": Counter(stands_uj=5, range_uj=1_000_000),
        "intel-rapl:1": Counter(stands_uj=7, range_uj=1_000_000),
    }


def test_a_machine_without_counters_has_none(tmp_path: Path) -> None:
    assert read_counters(tmp_path / "none") == {}
    write_zone(tmp_path, "intel-rapl:0", "not a number")
    assert read_counters(tmp_path) == {}


def test_packages_are_added_up_and_a_counter_may_begin_again() -> None:
    before = {
        "a": Counter(stands_uj=900_000, range_uj=1_000_000),
        "b": Counter(stands_uj=100_000, range_uj=1_000_000),
    }
    after = {
        "a": Counter(stands_uj=400_000, range_uj=1_000_000),
        "b": Counter(stands_uj=300_000, range_uj=1_000_000),
    }
    assert joules_between(before, after) == pytest.approx(0.5 + 0.2)


@pytest.mark.parametrize("names", [("", ""), ("a", ""), ("", "a"), ("a", "b")])
def test_joules_are_unknown_where_a_counter_is_missing(names: tuple[str, str]) -> None:
    before, after = ({name: Counter(stands_uj=1, range_uj=2)} if name else {} for name in names)
    assert joules_between(before, after) is None
