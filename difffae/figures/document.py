"""Documents whose figures are written by a command: text around them stays as people wrote it."""

from collections.abc import Mapping
from pathlib import Path

from difffae.checkpoint import write_atomically


def begin(name: str) -> str:
    """The line above a written section."""
    return f"<!-- figures: {name}, written by scripts/figures -->"


def end(name: str) -> str:
    """The line below it."""
    return f"<!-- end of figures: {name} -->"


def with_section(text: str, name: str, lines: list[str]) -> str:
    """The text with what stands between a section's two lines replaced.

    Raises:
        ValueError: the two lines are not there, in this order, once.
    """
    before, first, rest = text.partition(begin(name))
    body, last, after = rest.partition(end(name))
    if not first or not last or begin(name) in after or begin(name) in body:
        raise ValueError(
            f"Got a document without one section {name!r}; expected the line {begin(name)!r} and "
            f"later {end(name)!r}"
        )
    return "\n".join([before + first, "", *lines, "", last + after])


def write_sections(path: Path, sections: Mapping[str, list[str]]) -> None:
    """Rewrite sections of a document, all or none.

    Raises:
        ValueError: the document or one of its sections is missing.
        OSError: it cannot be written.
    """
    if not path.is_file():
        raise ValueError(f"Got no document {path}, whose figures were to be written: restore it")
    text = path.read_text("utf-8")
    for name, lines in sections.items():
        text = with_section(text, name, lines)
    write_atomically(path, text.encode())
