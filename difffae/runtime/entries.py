"""Cache entries that are read only where owner, key and every byte are as they were written.

An entry is a folder with a manifest: its key, and size and SHA-256 of each of its files. Whatever
does not fit is built anew. Where the cache folder cannot be used at all (read-only, full, somebody
else's), the entry is made in a private temporary folder and lives as long as it is being read.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from difffae.runtime.cache import cache_root, keep_recent, new_entry

Fill = Callable[[Path], None]
MANIFEST = "manifest.json"
_FORMAT = 1
_MAX_TEXT_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
_PATIENCE_S = 600.0  # with another process that holds an entry; the slowest build takes less
_QUIET_S = 5.0
_POLL_S = 0.05
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_UNUSABLE = frozenset(
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "ENOTDIR", "EEXIST")
)

_logger = logging.getLogger(__name__)


class UntrustedError(ValueError):
    """A file or folder of the cache that is not what was written there; says why."""


@contextmanager
def open_entry(kind: str, key: str, fill: Fill) -> Iterator[Path]:
    """Give a trusted entry of the cache, filled first where there is none.

    Two processes that want the same entry at once wait for one another, so that it is built once.

    Args:
        kind: Folder of entries of one sort.
        key: Name that changes whenever the content would.
        fill: Writes the content into the empty folder that it is given.

    Yields:
        Folder of the entry, to be read within the body.

    Raises:
        OSError: Neither the cache nor a temporary folder can be written.
    """
    with ExitStack() as held:
        folder = cache_root() / kind
        try:
            make_private(folder)
            with _building(kind, key):
                entry = _kept_or_filled(folder / key, fill)
            keep_recent(folder, entry)
        except (OSError, UntrustedError) as error:
            if isinstance(error, OSError) and error.errno not in _UNUSABLE:
                raise
            _logger.warning("%s is not kept, and is built again next time: %s", key, error)
            entry = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="difffae-")))
            fill(entry)
        yield entry


def make_private(folder: Path) -> None:
    """Make a folder of the cache that only its owner can write, with the folders above it.

    Raises:
        UntrustedError: It is another user's, a link, or no folder.
        OSError: It cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    _check_owner(folder, found)
    if not stat.S_ISDIR(found.st_mode):
        raise UntrustedError(f"{folder} is not a folder")
    if found.st_mode & _OTHERS_MAY_WRITE:
        folder.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS_MAY_WRITE)


def seal(folder: Path, key: str) -> None:
    """Write an entry's manifest; from now on its files are not to change.

    Args:
        folder: Filled folder of regular files and folders.
        key: The entry's name.
    """
    (folder / MANIFEST).unlink(missing_ok=True)
    files: dict[str, list[int | str]] = {}
    for path in sorted(folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if not path.is_dir():
            files[path.relative_to(folder).as_posix()] = [path.stat().st_size, _sha256(path)]
    folder.chmod(0o700)
    told = {"format": _FORMAT, "key": key, "files": files}
    (folder / MANIFEST).write_text(json.dumps(told), "utf-8")
    (folder / MANIFEST).chmod(0o600)


def check_entry(entry: Path) -> None:
    """Prove that an entry is ours, of this key, whole and unchanged.

    Raises:
        FileNotFoundError: There is none.
        UntrustedError: It is not; says why.
    """
    _check_folder(entry, entry.lstat())
    expected = _manifest(entry)
    found = {path.relative_to(entry).as_posix(): path for path in _files(entry)}
    found.pop(MANIFEST, None)
    if found.keys() != expected.keys():
        differing = ", ".join(sorted(found.keys() ^ expected.keys())[:3])
        raise UntrustedError(f"has other files than were written: {differing}")
    for name, path in found.items():
        if [path.stat().st_size, _sha256(path)] != expected[name]:
            raise UntrustedError(f"has a damaged file: {name}")


def read_private(path: Path) -> str:
    """Text of a small file that only its owner, this user or root, can have written.

    Raises:
        OSError: There is none, it is a link, or it cannot be read.
        UntrustedError: Somebody else can have written it, it is no file, large, or no text.
    """
    with _opened(path) as stream:
        content = stream.read(_MAX_TEXT_BYTES + 1)
    if len(content) > _MAX_TEXT_BYTES:
        raise UntrustedError(f"{path.name} is too large")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UntrustedError(f"{path.name} is not text") from error


def discard(entry: Path) -> None:
    """Remove an entry, whatever it is; first its name, so that nobody finds half of it.

    Raises:
        OSError: It cannot be moved away.
    """
    doomed = entry.with_name(f".{entry.name}.{uuid.uuid4().hex[:8]}.partial")
    with suppress(FileNotFoundError):
        entry.rename(doomed)
    if doomed.is_dir() and not doomed.is_symlink():
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        doomed.unlink(missing_ok=True)


def _kept_or_filled(entry: Path, fill: Fill) -> Path:
    """The entry, after filling it where there is none that can be trusted."""
    try:
        check_entry(entry)
        return entry
    except FileNotFoundError:
        pass
    except (UntrustedError, OSError) as error:
        _logger.warning("the cached %s %s; it is built anew", entry.name, error)
        discard(entry)
    with new_entry(entry) as folder:
        fill(folder)
        seal(folder, entry.name)
    check_entry(entry)
    return entry


@contextmanager
def _building(kind: str, key: str) -> Iterator[None]:
    """Let one process at a time look for an entry; where files cannot be locked, let all.

    The file goes with the lock: who waited for it finds the entry, as does who makes a new one.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with ExitStack() as held:
        with suppress(OSError, UntrustedError):
            locks = cache_root() / "locks"
            make_private(locks)
            place = locks / f"{kind}-{key}"
            descriptor = os.open(place, flags, 0o600)
            held.callback(os.close, descriptor)
            _wait_for_turn(descriptor, key)
            held.callback(place.unlink, missing_ok=True)
        yield


def _wait_for_turn(descriptor: int, key: str) -> None:
    """Lock the file; after a while in vain go on without: entries appear whole or not at all."""
    begun_s, is_told = time.monotonic(), False
    while (waited_s := time.monotonic() - begun_s) < _PATIENCE_S:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waited_s >= _QUIET_S and not is_told:
                is_told = True
                _logger.warning("another process is building %s; waiting for it", key)
            time.sleep(_POLL_S)
    _logger.warning("another process has held %s for %d s; building it here", key, _PATIENCE_S)


def _manifest(entry: Path) -> dict[str, list[int | str]]:
    try:
        told = json.loads(read_private(entry / MANIFEST))
    except (OSError, ValueError, RecursionError) as error:
        raise UntrustedError("has no manifest that can be read") from error
    if not isinstance(told, dict) or told.get("format") != _FORMAT:
        raise UntrustedError("has a manifest of another kind")
    if told.get("key") != entry.name:
        raise UntrustedError("was made for another network or machine")
    files = told.get("files")
    if not isinstance(files, dict):
        raise UntrustedError("has a manifest of another kind")
    return files


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, after a look at who can write them and the folders."""
    for path in sorted(folder.iterdir()):
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            _check_folder(path, found)
            yield from _files(path)
        else:
            _check_file(path, found)
            yield path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with _opened(path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A plain file that only its owner can have written, opened without following a link."""
    with open(path, "rb", buffering=0, opener=_open_plain) as stream:
        _check_file(path, os.fstat(stream.fileno()))
        yield cast(BinaryIO, stream)


def _open_plain(path: str, flags: int) -> int:
    """Open without following a link, and without waiting where it is a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _check_folder(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise UntrustedError(f"is a link or a file: {path.name}")
    _check_writers(path, found)


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UntrustedError(f"has something that is no plain file: {path.name}")
    _check_writers(path, found)


def _check_writers(path: Path, found: os.stat_result) -> None:
    _check_owner(path, found)
    if found.st_mode & _OTHERS_MAY_WRITE:
        raise UntrustedError(f"can be written by others: {path.name}")


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise UntrustedError(f"belongs to another user: {path.name}")
