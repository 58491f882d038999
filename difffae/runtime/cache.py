"""Disk cache of compiled networks: one folder per network, weights, shapes and machine."""

import dataclasses
import errno
import hashlib
import inspect
import itertools
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn

_MAX_ENTRIES = 24
_MAX_BYTES = 4 << 30
_STALE_AFTER_S = 86_400.0
_PLAIN_TYPES = (bool, int, float, str, tuple, type(None))


def cache_root() -> Path:
    """Folder of all caches: DIFFFAE_CACHE where it is set, else difffae in the user's own.

    That is XDG_CACHE_HOME or ~/.cache (XDG Base Directory Specification).
    """
    override = os.environ.get("DIFFFAE_CACHE")
    if override:
        return Path(override).absolute()
    users = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (users if users.is_absolute() else Path.home() / ".cache") / "difffae"


def network_key(
    module: nn.Module, example_inputs: tuple[Tensor, ...], settings: tuple[str, ...]
) -> str:
    """Name that changes whenever a compiled form of the network would.

    It covers the weights and buffers, the plain attributes and the source code of every module,
    the shapes and types of the inputs, the instruction set, and ``settings``.

    Args:
        module: Network that is compiled.
        example_inputs: Inputs it is compiled for.
        settings: Whatever else the result depends on, such as versions and precision.
    """
    digest = hashlib.sha256()
    facts = [torch.__version__, torch.backends.cpu.get_cpu_capability(), *settings]
    facts += [f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in example_inputs]
    facts += [f"{name} {_describe(part)}" for name, part in module.named_modules()]
    digest.update("\n".join(facts).encode())
    for file in _source_files(module):
        digest.update(file.read_bytes())
    for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().data)
    return f"{type(module).__name__}-{digest.hexdigest()[:24]}"


@contextmanager
def new_entry(entry: Path) -> Iterator[Path]:
    """Give a folder to fill that becomes ``entry`` if the body succeeds, and vanishes if not.

    Yields:
        An empty folder beside ``entry``.
    """
    partial = entry.with_name(f".{entry.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        if not entry.exists():
            _rename_unless_there(partial, entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def keep_recent(folder: Path, entry: Path) -> None:
    """Mark an entry as just used and drop the ones unused for longest, in number and in bytes.

    A folder that cannot be written stays as it is.

    Args:
        folder: Folder of entries.
        entry: Entry in use.
    """
    with suppress(OSError):
        os.utime(entry)
    by_age = sorted(folder.iterdir(), key=_modified_s, reverse=True)
    stale_before = time.time() - _STALE_AFTER_S
    aside = [path for path in by_age if path.name.startswith(".")]
    others = [path for path in by_age if path not in aside and path != entry]
    doomed = [path for path in aside if _modified_s(path) < stale_before]
    num_bytes = _size_bytes(entry)
    for place, path in enumerate(others, start=1):
        num_bytes += _size_bytes(path)
        if place >= _MAX_ENTRIES or num_bytes > _MAX_BYTES:
            doomed.append(path)
    for path in doomed:
        _remove(path)


def _rename_unless_there(partial: Path, entry: Path) -> None:
    """Name a finished folder; where another process was first, theirs stays."""
    try:
        partial.rename(entry)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder if that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _size_bytes(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 where it is gone."""
    total = 0
    for part in [path, *path.rglob("*")]:
        with suppress(OSError):
            total += part.lstat().st_size
    return total


def _describe(part: nn.Module) -> str:
    """Type and plain attributes of one module, but for whether it is training."""
    plain = {
        name: value
        for name, value in vars(part).items()
        if isinstance(value, _PLAIN_TYPES) or dataclasses.is_dataclass(value)
    }
    plain.pop("training", None)
    kind = type(part)
    return f"{kind.__module__}.{kind.__qualname__} {sorted(plain.items())!r} {part.extra_repr()}"


def _source_files(module: nn.Module) -> list[Path]:
    """Python files beside every class in a module, but for PyTorch's own, whose version counts."""
    kinds = {type(part) for part in module.modules()}
    folders: set[Path] = set()
    for kind in kinds:
        is_torch = kind.__module__.partition(".")[0] == "torch"
        with suppress(TypeError, OSError):
            folders.update(() if is_torch else {Path(inspect.getfile(kind)).parent})
    return sorted(file for folder in folders for file in folder.glob("*.py"))


def _modified_s(path: Path) -> float:
    """Time a path was last modified; 0 if another process has just removed it."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0
