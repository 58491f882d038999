"""docs/protocol.md, taken apart: its sections, tables, JSON and its example."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent.parent / "docs" / "protocol.md"
PLACEHOLDERS = ("SHA256", "ID", "KEY", "RECORDING")


def section(title: str) -> str:
    """What stands below a heading, with its own sub-sections."""
    found = re.search(rf"(?m)^(#+) {re.escape(title)}$", PATH.read_text("utf-8"))
    assert found is not None, f"the document has no heading {title!r}"
    rest = found.string[found.end() :]
    end = re.search(rf"(?m)^#{{1,{len(found[1])}}} ", rest)
    return rest if end is None else rest[: end.start()]


def headings() -> list[str]:
    """All of them, without their signs."""
    return re.findall(r"(?m)^#+ (.+)$", PATH.read_text("utf-8"))


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, without their heads."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"(?m)^\|.+$", text)
    ]
    rules = [index for index, row in enumerate(cells) if set("".join(row)) == {"-"}]
    return [row for index, row in enumerate(cells) if not {index, index + 1} & set(rules)]


def named(text: str) -> list[str]:
    """What is set as code."""
    return re.findall(r"`([^`]+)`", text)


def objects(text: str) -> list[dict[str, Any]]:
    """All JSON objects in a text, in order."""
    decoder = json.JSONDecoder()
    found, at = [], text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            end = at + 1
        else:
            found.append(value)
        at = text.find("{", end)
    return found


def addresses() -> dict[tuple[str, str], int]:
    """(method, address) to the status where all is well, from the table under Addresses."""
    table = section("Addresses").split("\n### ")[0]
    return {
        (method, named(row[0])[0]): int(status)
        for row in rows(table)
        for method, status in re.findall(r"`([A-Z]+)` (\d{3})", row[1])
    }


def has_shape(real: Any, shown: Any) -> bool:
    """Whether a value has the keys and the types of one that the document shows.

    Texts with a placeholder or an ellipsis stand for any text, numbers for any number; where
    the shown list or object is empty, anything may be in the real one.
    """
    if isinstance(shown, dict) and isinstance(real, dict):
        same = not shown or set(real) == set(shown)
        return same and all(has_shape(real[key], value) for key, value in shown.items())
    if isinstance(shown, list) and isinstance(real, list):
        return not shown or all(has_shape(one, shown[0]) for one in real)
    if isinstance(shown, str) and isinstance(real, str):
        parts = re.split("|".join(["…", *(rf"\b{name}\b" for name in PLACEHOLDERS)]), shown)
        return re.fullmatch(".*".join(map(re.escape, parts)), real, re.DOTALL) is not None
    if isinstance(shown, bool) or isinstance(real, bool) or shown is None:
        return type(real) is type(shown)
    return isinstance(real, int | float) and isinstance(shown, int | float)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request of the example and its answer; or the talk on the data channel, by lines.

    Attributes:
        sent: lines to the server.
        told: lines from it.
        lines: all, each with its direction, `>` or `<`.
    """

    sent: list[str]
    told: list[str]
    lines: list[str]


def example() -> Iterator[Exchange]:
    """The exchanges of the example, in order."""
    for block in re.findall(r"(?s)```\n(.*?)```", section("An example")):
        for part in block.strip().split("\n\n"):
            lines = part.splitlines()
            yield Exchange(
                sent=[line[2:] for line in lines if line.startswith("> ")],
                told=[line[2:] for line in lines if line.startswith("< ")],
                lines=lines,
            )
