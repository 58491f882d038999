"""Entries of the cache that several processes want at once."""

import fcntl
import logging
import multiprocessing
import os
from pathlib import Path

import pytest

from difffae.runtime import entries
from difffae.runtime.entries import check_entry, open_entry

KEY = "net-0123"


class Filling:
    """Writes an entry's only file, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        (folder / "network.bin").write_bytes(b"kernel")


def opened(filling: Filling) -> bytes:
    """What a reader of the entry sees."""
    with open_entry("kind", KEY, filling) as entry:
        return (entry / "network.bin").read_bytes()


def _open_in_child(root: str, started: "multiprocessing.synchronize.Barrier", told: str) -> None:
    os.environ["DIFFFAE_CACHE"] = root
    filling = Filling()
    started.wait()
    assert opened(filling) == b"kernel"
    Path(told).write_text(str(filling.count), "utf-8")


def test_processes_that_start_at_once_build_an_entry_once(cache: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    started = context.Barrier(3)
    told = [str(tmp_path / f"told-{index}") for index in range(3)]
    children = [
        context.Process(target=_open_in_child, args=(str(cache), started, each)) for each in told
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(20)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert sorted(Path(each).read_text("utf-8") for each in told) == ["0", "0", "1"]
    check_entry(cache / "kind" / KEY)


def test_a_process_that_hangs_does_not_keep_an_entry_from_others(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="difffae")
    monkeypatch.setattr(entries, "_QUIET_S", 0.0)
    monkeypatch.setattr(entries, "_PATIENCE_S", 0.2)
    (cache / "locks").mkdir(parents=True, mode=0o700)
    with (cache / "locks" / f"kind-{KEY}").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert opened(Filling()) == b"kernel"
    waiting, going_on = (record.getMessage() for record in caplog.records)
    assert waiting == f"another process is building {KEY}; waiting for it"
    assert going_on.endswith("building it here")
    check_entry(cache / "kind" / KEY)
