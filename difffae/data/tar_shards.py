"""Tar shards in the layout of the package webdataset, with an index beside each for random access.

A sample is a run of members that share a key: `KEY.image.jpg`, `KEY.points.npy`, `KEY.labels.json`.
The index holds where the pictures lie, and the arrays and labels themselves; a tar without one,
written by webdataset for instance, is looked through once when it is opened.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from difffae.data.mapped_shard import MappedShard, damaged, map_bytes, map_tensors

INDEX_SUFFIX = ".index"
_EXTENTS = ".extents"
_SIZE = "tar_bytes"
_PICTURES = frozenset({"jpg", "jpeg", "png"})
_LABELS = "labels.json"
_END_BYTES = 1024  # a tar ends with two blocks of zeros


def write_members(file: IO[bytes], samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """Write samples, each a key and its members' contents by name, as a tar.

    The same samples give the same bytes: members carry no time and no owner.
    """
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for key, members in samples:
            for name, content in members.items():
                entry = tarfile.TarInfo(f"{key}.{name}")
                entry.size, entry.mode = len(content), 0o444
                archive.addfile(entry, io.BytesIO(content))


def members_of(
    pictures: Mapping[str, bytes], arrays: Mapping[str, NDArray[Any]], labels: Mapping[str, str]
) -> dict[str, bytes]:
    """The members of one sample, by name."""
    members = {f"{name}.jpg": content for name, content in pictures.items()}
    for name, array in arrays.items():
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        members[f"{name}.npy"] = file.getvalue()
    if labels:
        members[_LABELS] = json.dumps(dict(labels)).encode()
    return members


def index_path(path: Path) -> Path:
    """Where the index of a tar shard lies."""
    return path.with_suffix(INDEX_SUFFIX)


def save_index(shard: MappedShard, path: Path) -> None:
    """Write the index of a tar shard."""
    tensors = {name: np.ascontiguousarray(array) for name, array in shard.arrays.items()}
    tensors |= {name + _EXTENTS: extents for name, extents in shard.extents.items()}
    save_file(tensors, path, metadata={**shard.labels, _SIZE: str(len(shard.content))})


def map_tar(path: Path) -> MappedShard:
    """Map a tar shard, by its index where there is one that belongs to it.

    Raises:
        ValueError: the file is cut short, no tar, or its samples differ in what they hold.
    """
    if path.stat().st_size == 0:
        raise damaged(path, "it is empty")
    content = map_bytes(path)
    if index_path(path).is_file():
        tensors, metadata = map_tensors(index_path(path))
        if metadata.pop(_SIZE, None) == str(len(content)):
            extents = {
                name.removesuffix(_EXTENTS): np.asarray(tensor)
                for name, tensor in tensors.items()
                if name.endswith(_EXTENTS)
            }
            arrays = {name: each for name, each in tensors.items() if not name.endswith(_EXTENTS)}
            return MappedShard(content=content, extents=extents, arrays=arrays, labels=metadata)
    return scan_tar(path)


def scan_tar(path: Path) -> MappedShard:
    """Map a tar shard by reading through its members.

    Raises:
        ValueError: the file is cut short, no tar, or its samples differ in what they hold.
    """
    content = map_bytes(path)
    if content[-_END_BYTES:].any():
        raise damaged(path, "it is cut short")
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path) as archive:
            files = [member for member in archive if member.isfile()]
    except tarfile.TarError as error:
        raise damaged(path, error) from error
    for member in files:
        key, _, name = member.name.partition(".")
        extent = (member.offset_data, member.offset_data + member.size)
        samples.setdefault(key, {})[name] = extent
    kinds = {frozenset(members) for members in samples.values()}
    if len(kinds) != 1:
        raise damaged(path, f"its samples hold {len(kinds)} different sets of members")
    names = next(iter(kinds))
    columns = {name: np.array([each[name] for each in samples.values()]) for name in names}
    labels = _labels(content, columns.pop(_LABELS)) if _LABELS in columns else {}
    return MappedShard(
        content=content,
        extents={
            name.rpartition(".")[0] or name: extents
            for name, extents in columns.items()
            if name.rpartition(".")[2] in _PICTURES
        },
        arrays={
            name.removesuffix(".npy"): np.stack([_array(content, each) for each in extents])
            for name, extents in columns.items()
            if name.endswith(".npy")
        },
        labels=labels,
    )


def _array(content: NDArray[np.uint8], extent: NDArray[np.int64]) -> NDArray[Any]:
    blob = io.BytesIO(content[slice(*extent)].tobytes())
    return np.asarray(np.load(blob, allow_pickle=False))


def _labels(content: NDArray[np.uint8], extents: NDArray[np.int64]) -> dict[str, str]:
    rows = [json.loads(content[slice(*extent)].tobytes()) for extent in extents]
    return {name: json.dumps([str(row[name]) for row in rows]) for name in rows[0]}
