"""Every licensed file of a configuration looked into, as far as that goes without running anything.

A configuration's paths in; for each file its state in a few words, or what is wrong with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from difffae.face.albedo import load_albedo
from difffae.face.arcface import load_arcface
from difffae.face.deca import load_deca
from difffae.face.detail import load_detail_maps
from difffae.face.flame import load_embedding, load_flame
from difffae.face.licensed import (
    LICENSED,
    LicensedFile,
    LicensedFileError,
    LicensedFiles,
    not_set,
    read_arrays,
)
from difffae.face.template import load_template

NOT_SET = "not set"


@dataclass(frozen=True, kw_only=True)
class LicensedState:
    """How one licensed file stands.

    Attributes:
        file: which one.
        path: where the configuration says it is, None where it says nothing.
        state: in a few words, or the whole error.
        is_usable: whether it can be used.
    """

    file: LicensedFile
    path: str | None
    state: str
    is_usable: bool


def check_file(files: LicensedFiles, key: str) -> str | None:
    """Load one file as the model would.

    Returns:
        Which publication FLAME is, where its hash is known.

    Raises:
        LicensedFileError: the file is not set, not there, damaged, or another than expected.
    """
    if key == "arcface":
        if files.arcface is None:
            raise not_set(key)
        load_arcface(files.arcface)
        return None
    path = files.require(key)
    if key == "flame":
        return load_flame(path).version
    loaders: Mapping[str, Callable[[Path], object]] = {
        "deca": load_deca,
        "albedo": load_albedo,
        "template": load_template,
        "landmarks": lambda landmarks: load_embedding(
            landmarks, read_arrays("flame", files.require("flame"))[1]
        ),
        "uv_mask": lambda mask: load_detail_maps(mask, files.require("displacement")),
        "displacement": lambda maps: load_detail_maps(files.require("uv_mask"), maps),
    }
    loaders[key](path)
    return None


def check_files(files: LicensedFiles) -> list[LicensedState]:
    """The state of every licensed file, in the order of the table."""
    return [_state(files, row) for row in LICENSED.values()]


def _state(files: LicensedFiles, row: LicensedFile) -> LicensedState:
    path = getattr(files, row.key)
    if path is None:
        return LicensedState(file=row, path=None, state=NOT_SET, is_usable=False)
    try:
        name = check_file(files, row.key)
    except LicensedFileError as error:
        return LicensedState(file=row, path=str(path), state=str(error), is_usable=False)
    state = f"FLAME {name}" if name else "holds what is expected"
    return LicensedState(file=row, path=str(path), state=state, is_usable=True)
