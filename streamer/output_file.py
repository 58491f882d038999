"""A file that is to be written: checked before any work is done, put in place when it is whole."""

from collections.abc import Iterable, Set
from pathlib import Path

from streamer.errors import OutputError


def check_output(
    path: Path, *, suffixes: Set[str], inputs: Iterable[Path], can_overwrite: bool
) -> None:
    """Refuse what could not be written later.

    Args:
        path: to be written.
        suffixes: that its name may have, in small letters.
        inputs: files that are not written over; those that are not there are passed over.
        can_overwrite: whether another file may be replaced.

    Raises:
        OutputError: the name, the folder or what is there already is in the way.
    """
    if path.suffix.lower() not in suffixes:
        raise OutputError(
            f"{path} is not named {' or '.join(sorted(suffixes))}; choose such a name"
        )
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {path.parent}; make it or choose another output")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file")
    if path.exists() and any(path.samefile(given) for given in inputs):
        raise OutputError(f"{path} is also an input; choose another output")
    if path.exists() and not can_overwrite:
        raise OutputError(f"{path} exists; add --overwrite or choose another output")
    _check_can_write(path)


def _check_can_write(path: Path) -> None:
    trial = unfinished(path)
    try:
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write in {path.parent}: {error.strerror}; choose another output"
        ) from error


def unfinished(path: Path) -> Path:
    """The hidden name beside a file under which it is written."""
    return path.with_name(f".{path.name}.unfinished")
