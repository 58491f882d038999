"""A shard's file, mapped into memory: where its pictures lie, its arrays, its labels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

OFFSETS = ".offsets"
_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
Extents = Int64[NDArray[np.int64], "n 2"]  # first byte and the byte after the last


@dataclass(frozen=True, kw_only=True)
class MappedShard:
    """One shard, read from the disk only where it is looked at.

    Attributes:
        content: the file's bytes.
        extents: for each name of pictures, where each sample's lies in the content.
        arrays: for each name of arrays, one row a sample.
        labels: for each name of labels, a JSON list of one text a sample.
    """

    content: UInt8[NDArray[np.uint8], " bytes"]
    extents: Mapping[str, Extents]
    arrays: Mapping[str, NDArray[Any]]
    labels: Mapping[str, str]

    def __len__(self) -> int:
        columns = [*self.extents.values(), *self.arrays.values()]
        return len(columns[0]) if columns else 0

    @property
    def last_byte(self) -> int:
        """Where the last picture ends: within the content, or else the file is cut short."""
        return max((int(each.max(initial=0)) for each in self.extents.values()), default=0)


def damaged(path: Path, detail: object) -> ValueError:
    """The error of a shard that cannot be read."""
    return ValueError(f"got a damaged shard {path} ({detail}): delete it and make it again")


def map_safetensors(path: Path) -> MappedShard:
    """Map a shard that `write_shard` wrote.

    Raises:
        ValueError: the file is cut short or no shard.
    """
    tensors, labels = map_tensors(path)
    content, header = _content(path)
    extents, arrays = {}, {}
    for name, tensor in tensors.items():
        if name + OFFSETS in tensors:
            offsets = np.asarray(tensors[name + OFFSETS])
            first = header[name]["data_offsets"][0] + _start(content)
            extents[name] = first + np.stack([offsets[:-1], offsets[1:]], -1)
        elif not name.endswith(OFFSETS):
            arrays[name] = tensor
    return MappedShard(content=content, extents=extents, arrays=arrays, labels=labels)


def map_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors of a safetensors file, mapped, and its metadata.

    Raises:
        ValueError: the file is cut short or no safetensors file.
    """
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise damaged(path, error) from error
    content, header = _content(path)
    start = _start(content)
    tensors: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, end = (start + offset for offset in entry["data_offsets"])
            dtype = np.dtype(_DTYPES[entry["dtype"]])
            tensors[name] = content[first:end].view(dtype).reshape(entry["shape"])
    return tensors, metadata


def map_bytes(path: Path) -> UInt8[NDArray[np.uint8], " bytes"]:
    """A file's bytes, read where they are looked at."""
    return np.asarray(np.memmap(path, np.uint8, "r"))


def _content(path: Path) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    content = map_bytes(path)
    return content, json.loads(content[8 : _start(content)].tobytes())


def _start(content: NDArray[np.uint8]) -> int:
    """Where the data begins: after eight bytes of the header's length, and the header."""
    return 8 + int.from_bytes(content[:8].tobytes(), "little")
