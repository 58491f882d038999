"""Entries of the cache: trusted only whole, ours and of their key; the planted is refused."""

import json
import logging
import os
import random
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from difffae.runtime import entries
from difffae.runtime.entries import (
    MANIFEST,
    UntrustedError,
    check_entry,
    make_private,
    open_entry,
    read_private,
)

KEY = "net-0123"
CONTENT = {"network.bin": bytes(range(256)) * 40, "compiled/kernel": b"kernel"}


class Filling:
    """Writes the entry's content, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        for name, content in CONTENT.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)


@pytest.fixture(autouse=True)
def _our_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Our own lines, also where a library has raised the level of all loggers."""
    caplog.set_level(logging.WARNING, logger="difffae")


@pytest.fixture
def filling() -> Filling:
    return Filling()


def content_of(entry: Path) -> dict[str, bytes]:
    """All files of an entry but its manifest."""
    files = (path for path in entry.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(entry).as_posix(): path.read_bytes() for path in files}


def opened(filling: Filling, key: str = KEY) -> dict[str, bytes]:
    """What a reader of the entry sees."""
    with open_entry("kind", key, filling) as entry:
        return content_of(entry)


@pytest.fixture
def entry(cache: Path, filling: Filling) -> Path:
    """An entry that was filled once."""
    assert opened(filling) == CONTENT
    return cache / "kind" / KEY


def test_an_entry_is_filled_once_and_read_again(entry: Path, filling: Filling) -> None:
    assert opened(filling) == CONTENT
    assert filling.count == 1
    assert [path.name for path in entry.parent.iterdir()] == [KEY]
    assert list((entry.parent.parent / "locks").iterdir()) == []


def test_nobody_else_can_write_an_entry_whatever_the_umask(cache: Path, filling: Filling) -> None:
    before = os.umask(0)
    try:
        opened(filling)
    finally:
        os.umask(before)
    folders = [cache / "kind", cache / "kind" / KEY, cache / "kind" / KEY / "compiled"]
    for path in [*folders, *(cache / "kind" / KEY).rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0, path
    opened(filling)
    assert filling.count == 1


def test_an_entry_that_fails_leaves_nothing(cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half", "utf-8")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"), open_entry("kind", KEY, fail):
        pass
    assert list((cache / "kind").iterdir()) == []


def _truncate(entry: Path) -> None:
    os.truncate(entry / "network.bin", 100)


def _empty(entry: Path) -> None:
    (entry / "network.bin").write_bytes(b"")


def _add(entry: Path) -> None:
    (entry / "extra.so").write_bytes(b"code")


def _remove(entry: Path) -> None:
    (entry / "compiled" / "kernel").unlink()


def _link_file(entry: Path) -> None:
    target = entry.parent.parent / "elsewhere"
    (entry / "network.bin").rename(target)
    (entry / "network.bin").symlink_to(target)


def _link_folder(entry: Path) -> None:
    target = entry.parent.parent / "elsewhere"
    entry.rename(target)
    entry.symlink_to(target)


def _link_nowhere(entry: Path) -> None:
    entry.rename(entry.parent.parent / "elsewhere")
    entry.symlink_to(entry.parent / "nothing")


def _link_inner_folder(entry: Path) -> None:
    target = entry.parent.parent / "elsewhere"
    (entry / "compiled").rename(target)
    (entry / "compiled").symlink_to(target)


def _pipe(entry: Path) -> None:
    (entry / "network.bin").unlink()
    os.mkfifo(entry / "network.bin")


def _pipe_as_manifest(entry: Path) -> None:
    (entry / MANIFEST).unlink()
    os.mkfifo(entry / MANIFEST)


def _file_as_entry(entry: Path) -> None:
    entry.rename(entry.parent.parent / "elsewhere")
    entry.write_text("not a folder", "utf-8")


def _open_file(entry: Path) -> None:
    (entry / "network.bin").chmod(0o666)


def _open_folder(entry: Path) -> None:
    entry.chmod(0o777)


def _open_manifest(entry: Path) -> None:
    (entry / MANIFEST).chmod(0o664)


def _give_file(entry: Path) -> None:
    os.chown(entry / "network.bin", 12345, 12345)


def _give_folder(entry: Path) -> None:
    os.chown(entry, 12345, 12345)


def _give_manifest(entry: Path) -> None:
    os.chown(entry / MANIFEST, 12345, 12345)


def _no_manifest(entry: Path) -> None:
    (entry / MANIFEST).unlink()


def _manifest(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def plant(entry: Path) -> None:
        told = json.loads((entry / MANIFEST).read_text("utf-8"))
        changed = change(told)
        (entry / MANIFEST).write_text(json.dumps(told if changed is None else changed), "utf-8")

    return plant


def _raw_manifest(content: bytes) -> Callable[[Path], None]:
    return lambda entry: (entry / MANIFEST).write_bytes(content) and None


is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="only root can give files away")

PLANTED = [
    _truncate,
    _empty,
    _add,
    _remove,
    _link_file,
    _link_folder,
    _link_nowhere,
    _link_inner_folder,
    _pipe,
    _pipe_as_manifest,
    _file_as_entry,
    _open_file,
    _open_folder,
    _open_manifest,
    pytest.param(_give_file, marks=needs_root),
    pytest.param(_give_folder, marks=needs_root),
    pytest.param(_give_manifest, marks=needs_root),
    _no_manifest,
    pytest.param(_manifest(lambda told: told.update(key="net-other")), id="other-key"),
    pytest.param(_manifest(lambda told: told.update(format=0)), id="other-format"),
    pytest.param(_manifest(lambda told: told.update(files=[])), id="files-no-object"),
    pytest.param(_manifest(lambda told: told.update(files={"network.bin": 3})), id="no-pair"),
    pytest.param(_manifest(lambda told: [told]), id="no-object"),
    pytest.param(_raw_manifest(b""), id="empty"),
    pytest.param(_raw_manifest(b"\x80\x04pickle\xff"), id="no-text"),
    pytest.param(_raw_manifest(b"[" * 100_000), id="deep"),
    pytest.param(_raw_manifest(b" " * (2 << 20)), id="large"),
]


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_entry_is_built_anew_with_one_line(
    entry: Path,
    filling: Filling,
    plant: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plant(entry)
    assert opened(filling) == CONTENT
    assert filling.count == 2
    [record] = caplog.records
    assert "it is built anew" in record.getMessage()
    assert opened(filling) == CONTENT
    assert filling.count == 2


def test_a_changed_byte_anywhere_is_noticed(entry: Path, filling: Filling) -> None:
    """Property: of 200 random single-byte changes of any file, none is read."""
    chance = random.Random(0)
    whole = {path: path.read_bytes() for path in entry.rglob("*") if path.is_file()}
    for _ in range(200):
        path = chance.choice(list(whole))
        damaged = bytearray(whole[path])
        place = chance.randrange(len(damaged))
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            check_entry(entry)
        except UntrustedError:
            pass
        else:
            assert json.loads(damaged) == json.loads(whole[path])  # a blank of the manifest
        path.write_bytes(whole[path])
    check_entry(entry)
    assert filling.count == 1


def test_a_file_cut_at_any_length_is_noticed(entry: Path) -> None:
    for path in [entry / "network.bin", entry / "compiled" / "kernel", entry / MANIFEST]:
        whole = path.read_bytes()
        for length in {0, 1, len(whole) // 2, len(whole) - 1}:
            path.write_bytes(whole[:length])
            with pytest.raises(UntrustedError):
                check_entry(entry)
        path.write_bytes(whole)
    check_entry(entry)


def test_an_entry_renamed_to_another_key_is_refused(entry: Path, filling: Filling) -> None:
    entry.rename(entry.with_name("net-other"))
    opened(filling, "net-other")
    assert filling.count == 2


def test_what_a_planted_link_points_to_is_left_alone(entry: Path, filling: Filling) -> None:
    _link_folder(entry)
    opened(filling)
    assert content_of(entry.parent.parent / "elsewhere") == CONTENT


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(params=["file", "link", "other user", "full", "read-only"])
def unusable(request: pytest.FixtureRequest, cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A cache folder that entries cannot be kept in."""
    cache.mkdir()
    if request.param == "file":
        (cache / "kind").write_text("", "utf-8")
    elif request.param == "link":
        (cache.parent / "theirs").mkdir()
        (cache / "kind").symlink_to(cache.parent / "theirs")
    elif request.param == "other user":
        if not is_root:
            pytest.skip("only root can give folders away")
        (cache / "kind").mkdir()
        os.chown(cache / "kind", 12345, 12345)
    else:
        code = {"full": 28, "read-only": 30}[request.param]  # ENOSPC, EROFS

        def refuse(*arguments: object, **options: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(entries, "seal", refuse)
    return str(request.param)


def test_where_the_cache_cannot_be_used_the_entry_lives_while_it_is_read(
    unusable: str, temporary: Path, filling: Filling, caplog: pytest.LogCaptureFixture
) -> None:
    del unusable
    with open_entry("kind", KEY, filling) as entry:
        assert entry.parent == temporary
        assert content_of(entry) == CONTENT
        assert stat.S_IMODE(entry.stat().st_mode) == 0o700
    assert list(temporary.iterdir()) == []
    [record] = caplog.records
    assert f"{KEY} is not kept, and is built again next time" in record.getMessage()


@pytest.mark.skipif(is_root, reason="root writes where it pleases")
def test_an_entry_in_a_folder_that_became_read_only_is_still_read(
    entry: Path, filling: Filling
) -> None:
    entry.parent.chmod(0o500)
    assert opened(filling) == CONTENT
    entry.parent.chmod(0o700)
    assert filling.count == 1


def test_a_folder_that_others_could_write_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "kind").mkdir()
    (tmp_path / "kind").chmod(0o777)
    make_private(tmp_path / "kind")
    assert stat.S_IMODE((tmp_path / "kind").stat().st_mode) == 0o755


@pytest.mark.parametrize("kind", ["link", "open", "pipe", "missing", "folder"])
def test_a_small_file_is_read_only_where_it_can_be_trusted(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "choice.json"
    path.write_text("{}", "utf-8")
    path.chmod(0o600)
    assert read_private(path) == "{}"
    if kind == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "open":
        path.chmod(0o602)
    else:
        path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises((OSError, UntrustedError)):
        read_private(path)
