"""Cache of compiled networks: names that change when they must, entries whole or not at all."""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from difffae.runtime import cache
from difffae.runtime.cache import cache_root, keep_recent, network_key, new_entry


def test_cache_lies_in_the_home_folder_or_where_the_variable_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DIFFFAE_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for relative in ("", "here"):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert cache_root() == tmp_path / ".cache" / "difffae"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    assert cache_root() == tmp_path / "users" / "difffae"
    monkeypatch.setenv("DIFFFAE_CACHE", str(tmp_path / "elsewhere"))
    assert cache_root() == tmp_path / "elsewhere"


def test_key_is_the_same_for_the_same_network(one_head: nn.Module, image: Tensor) -> None:
    key = network_key(one_head, (image,), ("a",))
    one_head.train()
    assert network_key(one_head, (image * 2,), ("a",)) == key
    assert key.startswith("OneHead-")


def test_key_changes_with_all_the_result_depends_on(two_heads: nn.Module, image: Tensor) -> None:
    keys = {network_key(two_heads, (image,), ("a",))}
    keys.add(network_key(two_heads, (image,), ("b",)))
    keys.add(network_key(two_heads, (image[:, :, :8],), ("a",)))
    keys.add(network_key(two_heads, (image.double(),), ("a",)))
    two_heads.width = 33
    keys.add(network_key(two_heads, (image,), ("a",)))
    two_heads.norm.eps = 1e-3
    keys.add(network_key(two_heads, (image,), ("a",)))
    two_heads.register_buffer("table", torch.zeros(3), persistent=False)
    keys.add(network_key(two_heads, (image,), ("a",)))
    two_heads.table[1] = 1.0
    keys.add(network_key(two_heads, (image,), ("a",)))
    with torch.no_grad():
        two_heads.last.bias[0] += 1e-6
    keys.add(network_key(two_heads, (image,), ("a",)))
    assert len(keys) == 9


def test_entry_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    entry = tmp_path / "cache" / "net"
    with new_entry(entry) as folder:
        (folder / "file").write_text("data", "utf-8")
        assert not entry.exists()
    assert (entry / "file").read_text("utf-8") == "data"
    assert [path.name for path in entry.parent.iterdir()] == ["net"]


def test_entry_that_failed_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with new_entry(tmp_path / "net") as folder:
            (folder / "file").write_text("data", "utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_entry_that_another_process_finished_first_is_kept(tmp_path: Path) -> None:
    entry = tmp_path / "net"
    with new_entry(entry):
        entry.mkdir()
        (entry / "file").write_text("theirs", "utf-8")
    assert (entry / "file").read_text("utf-8") == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_entries_unused_for_longest_are_dropped(tmp_path: Path) -> None:
    for index in range(30):
        (tmp_path / f"net-{index}").mkdir()
        os.utime(tmp_path / f"net-{index}", (1_000_000 + index, 1_000_000 + index))
    abandoned = tmp_path / ".net.1.partial"
    abandoned.mkdir()
    os.utime(abandoned, (1_000_000, 1_000_000))
    (tmp_path / ".net.2.partial").mkdir()
    keep_recent(tmp_path, tmp_path / "net-0")
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"net-0", ".net.2.partial", *(f"net-{index}" for index in range(7, 30))}


def test_entries_past_the_limit_in_bytes_are_dropped_but_never_the_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_MAX_BYTES", 250_000)
    for index in range(4):
        entry = tmp_path / f"net-{index}" / "within"
        entry.mkdir(parents=True)
        (entry / "weights").write_bytes(bytes(100_000))
        os.utime(tmp_path / f"net-{index}", (1_000_000 + index, 1_000_000 + index))
    keep_recent(tmp_path, tmp_path / "net-0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net-0", "net-3"]
    monkeypatch.setattr(cache, "_MAX_BYTES", 1)
    keep_recent(tmp_path, tmp_path / "net-0")
    assert [path.name for path in tmp_path.iterdir()] == ["net-0"]


def test_what_a_link_points_to_outlives_its_removal(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious", "utf-8")
    folder = tmp_path / "cache"
    (folder / "net").mkdir(parents=True)
    (folder / ".old.partial").symlink_to(outside)
    os.utime(folder / ".old.partial", (0, 0), follow_symlinks=False)
    keep_recent(folder, folder / "net")
    assert [path.name for path in folder.iterdir()] == ["net"]
    assert (outside / "file").read_text("utf-8") == "precious"
