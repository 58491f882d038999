"""People divided into train and test, none in both: seeded, stored, and stable as people are added.

The paper divides VoxCeleb1 8:2 by identity. The rule: people are ranked by a hash of seed and name,
and one after another goes to the set that is farther below its share. Who is in the stored lists
stays where they are; only newcomers are divided.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from difffae.data.shards import appearing

TEST_SHARE = 0.2
_FILE = "split.json"


@dataclass(frozen=True, kw_only=True)
class IdentitySplit:
    """Which people are trained on and which are kept for testing."""

    train: frozenset[str]
    test: frozenset[str]

    def part_of(self, person: str) -> str:
        """Which set a person belongs to: "train" or "test".

        Raises:
            ValueError: the person is in neither.
        """
        if person in self.train:
            return "train"
        if person in self.test:
            return "test"
        raise ValueError(f"got a person {person!r} in neither list: divide them first")


def split_people(
    people: Iterable[str], seed: int, known: IdentitySplit | None = None
) -> IdentitySplit:
    """Divide people 8:2.

    Args:
        people: names; those already divided may be among them.
        seed: another seed gives another division.
        known: an earlier division, which stays.
    """
    train = set(known.train) if known else set()
    test = set(known.test) if known else set()
    newcomers = set(people) - train - test
    for person in sorted(newcomers, key=lambda name: _rank(seed, name)):
        wanted = round(TEST_SHARE * (len(train) + len(test) + 1))
        (test if len(test) < wanted else train).add(person)
    return IdentitySplit(train=frozenset(train), test=frozenset(test))


def _rank(seed: int, person: str) -> str:
    return hashlib.sha256(f"{seed}:{person}".encode()).hexdigest()


def load_split(folder: Path, seed: int) -> IdentitySplit | None:
    """The division stored in a folder; None where there is none.

    Raises:
        ValueError: it was made with another seed, or its lists are not what it counted.
    """
    path = folder / _FILE
    if not path.is_file():
        return None
    stored = json.loads(path.read_text("utf-8"))
    if stored["seed"] != seed:
        raise ValueError(
            f"{path} was made with seed {stored['seed']}, not {seed}: give --seed "
            f"{stored['seed']}, or another output folder"
        )
    lists = {part: _read_list(folder, part) for part in ("train", "test")}
    counted = {part: len(names) for part, names in lists.items()}
    if counted != stored["people"] or lists["train"] & lists["test"]:
        raise ValueError(
            f"got {counted} people in train.txt and test.txt, expected {stored['people']} and none "
            f"in both as {path} says: restore the files, or give another output folder"
        )
    return IdentitySplit(train=lists["train"], test=lists["test"])


def save_split(
    folder: Path, split: IdentitySplit, seed: int, details: Mapping[str, object]
) -> None:
    """Store `train.txt` and `test.txt`, one person a line, and `split.json` with seed and counts.

    Raises:
        CannotWriteError: the disk is full or read-only.
    """
    for part, names in (("train", split.train), ("test", split.test)):
        with appearing(folder / f"{part}.txt") as temporary:
            temporary.write_text("".join(name + "\n" for name in sorted(names)), "utf-8")
    content = {
        "seed": seed,
        "test_share": TEST_SHARE,
        "people": {"train": len(split.train), "test": len(split.test)},
        "rule": "people ranked by sha256 of 'seed:name', each to the set farther below its share; "
        "people listed before stay where they are",
        **details,
    }
    with appearing(folder / _FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _read_list(folder: Path, part: str) -> frozenset[str]:
    path = folder / f"{part}.txt"
    return frozenset(path.read_text("utf-8").split()) if path.is_file() else frozenset()
