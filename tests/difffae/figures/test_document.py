"""Sections of documents that a command writes."""

from pathlib import Path

import pytest

from difffae.figures.document import begin, end, write_sections


def document(*names: str) -> str:
    sections = [f"{begin(name)}\nold\n{end(name)}" for name in names]
    return "\n".join(["# Title", "prose", *sections, "more prose", ""])


def test_what_people_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text(document("size", "worst"), "utf-8")
    write_sections(path, {"size": ["| 1 |"], "worst": ["- a", "- b"]})
    text = path.read_text("utf-8")
    assert text.startswith("# Title\nprose\n")
    assert text.endswith("more prose\n")
    assert "old" not in text
    assert f"{begin('worst')}\n\n- a\n- b\n\n{end('worst')}" in text
    write_sections(path, {"size": ["| 1 |"], "worst": ["- a", "- b"]})
    assert path.read_text("utf-8") == text


def test_a_missing_section_leaves_the_document_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text(document("size"), "utf-8")
    with pytest.raises(ValueError, match="without one section 'worst'"):
        write_sections(path, {"size": ["new"], "worst": ["new"]})
    assert path.read_text("utf-8") == document("size")


def test_a_missing_document_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Got no document .*card\.md"):
        write_sections(tmp_path / "card.md", {})
