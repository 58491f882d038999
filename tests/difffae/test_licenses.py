"""The printed ledger: what it shows and what its exit status says."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from difffae.checkpoint import save_tensors, sha256
from difffae.face.licensed import LICENSED
from difffae.licenses import main, print_ledger
from licensed_media import write_template


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_tensors(path, {"weight": torch.ones(4)}, {})
    (tmp_path / "LEDGER.md").write_text(
        "| file | sha256 | bytes | licence | trained on | command | figures |\n"
        "|---|---|---|---|---|---|---|\n"
        f"| net.safetensors | {sha256(path)} | {path.stat().st_size} | MIT | own clips [CC0] "
        "| train --stage joint | 20.1 dB |\n",
        "utf-8",
    )
    return tmp_path


def _print(folder: Path) -> tuple[bool, str]:
    console = Console(file=io.StringIO(), width=100)
    is_good = print_ledger(folder, console)
    assert isinstance(console.file, io.StringIO)
    return is_good, console.file.getvalue()


def test_every_fact_of_a_matching_file_is_printed(folder: Path) -> None:
    is_good, text = _print(folder)
    assert is_good
    for fact in ("net.safetensors", "matches", "MIT", "own clips [CC0]", "train --stage joint"):
        assert fact in text
    assert sha256(folder / "net.safetensors") in text
    assert "1 of 1 files match their hash" in text


def test_changed_file_is_shown_with_its_own_hash(folder: Path) -> None:
    path = folder / "net.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    is_good, text = _print(folder)
    assert not is_good
    assert "differs: sha256" in text
    assert "0 of 1 files match" in text


def test_file_of_another_size_is_shown_with_both_sizes(folder: Path) -> None:
    path = folder / "net.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"\0")
    assert f"differs: {size + 1} bytes, expected {size}" in _print(folder)[1]


def test_missing_file_is_shown(folder: Path) -> None:
    (folder / "net.safetensors").unlink()
    is_good, text = _print(folder)
    assert not is_good
    assert "missing" in text


def test_file_unknown_to_the_ledger_is_shown(folder: Path) -> None:
    save_tensors(folder / "new.safetensors", {"weight": torch.ones(1)}, {})
    is_good, text = _print(folder)
    assert not is_good
    assert "new.safetensors: not in the ledger" in text


def test_exit_status_tells_good_changed_and_absent_apart(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--weights", str(folder)]) == 0
    (folder / "net.safetensors").unlink()
    assert main(["--weights", str(folder)]) == 1
    capsys.readouterr()
    assert main(["--weights", str(tmp_path_factory.mktemp("empty"))]) == 2
    assert capsys.readouterr().err.startswith("no ledger at")


def test_licensed_files_of_a_configuration_are_printed_with_their_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "900")
    template = write_template(tmp_path / "head_template.obj")
    config = tmp_path / "model.yaml"
    text = f"model: {{face: {{licensed: {{template: {template}}}}}}}"
    config.write_text(text, "utf-8")
    assert main(["--config", str(config)]) == 0
    printed = capsys.readouterr().out
    assert "1 of 1 files that are set can be used" in printed
    for row in LICENSED.values():
        assert f"model.face.licensed.{row.key}" in printed
    assert printed.count("not set") == len(LICENSED) - 1
    config.write_text(text.replace(str(template), str(tmp_path)), "utf-8")
    assert main(["--config", str(config)]) == 1
    printed = capsys.readouterr().out
    assert "where there is no file" in printed
    assert "0 of 1 files that are set can be used" in printed


def test_a_configuration_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml is not a model configuration" in capsys.readouterr().err
