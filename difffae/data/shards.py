"""Shards of training data: JPEG pictures and arrays in files that are read by memory map.

A shard is a safetensors file, one a clip as preparation leaves them, or, for large sets, a tar file
of many clips in the layout of the package webdataset (`difffae.data.pack`).
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from difffae.data.mapped_shard import OFFSETS, MappedShard, damaged, map_safetensors
from difffae.data.tar_shards import map_tar

JPEG_QUALITY = 95


class CannotWriteError(ValueError):
    """The disk takes no more: full, read-only or gone. Nothing half written is left in sight."""


def cannot_write(path: Path, cause: Exception) -> CannotWriteError:
    """The error of a file that could not be written."""
    detail = getattr(cause, "strerror", None) or cause
    return CannotWriteError(
        f"cannot write {path} ({detail}): free or mount space and give the command again, what is "
        "finished is kept"
    )


def encode_jpeg(image: UInt8[NDArray[np.uint8], "h w 3"]) -> bytes:
    """RGB picture to JPEG bytes."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"Got a picture of shape {image.shape} that does not encode as JPEG")
    return data.tobytes()


@dataclass(frozen=True, kw_only=True)
class ShardContents:
    """What one shard holds: per sample one JPEG of each name, and one row of each array."""

    pictures: Mapping[str, Sequence[bytes]]
    arrays: Mapping[str, NDArray[Any]]
    labels: Mapping[str, Sequence[str]]


def contents_of(
    samples: Sequence[tuple[Mapping[str, bytes], Mapping[str, NDArray[Any]]]],
) -> ShardContents:
    """Samples without labels, each its JPEGs and its rows of arrays, as one shard's contents."""
    blobs, rows = samples[0]
    return ShardContents(
        pictures={name: [each[name] for each, _ in samples] for name in blobs},
        arrays={name: np.stack([each[name] for _, each in samples]) for name in rows},
        labels={},
    )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample as it is stored: encoded pictures and rows of arrays."""

    pictures: Mapping[str, bytes]
    arrays: Mapping[str, NDArray[Any]]


def partial_path(path: Path) -> Path:
    """Where a file or folder is written before it appears; what a killed run left there goes."""
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(temporary)
    except OSError as error:
        raise cannot_write(path, error) from error
    return temporary


def remove(path: Path) -> None:
    """Remove a file or a folder if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A place to write a file or folder that then appears under its name, whole or not at all.

    Raises:
        CannotWriteError: the disk is full, read-only or gone.
    """
    temporary = partial_path(path)
    try:
        yield temporary
        if temporary.is_file():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.rename(path)
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            remove(temporary)


def write_shard(path: Path, contents: ShardContents) -> None:
    """Write one shard atomically.

    Raises:
        CannotWriteError: the disk is full, read-only or gone.
    """
    tensors = dict(contents.arrays)
    for name, blobs in contents.pictures.items():
        tensors[name] = np.frombuffer(b"".join(blobs), np.uint8)
        tensors[name + OFFSETS] = np.cumsum([0] + [len(blob) for blob in blobs]).astype(np.int64)
    metadata = {name: json.dumps(list(values)) for name, values in contents.labels.items()}
    compact = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with appearing(path) as temporary:
        save_file(compact, temporary, metadata=metadata)


class ShardReader:
    """Samples of all shards of a folder, by one running index.

    Raises:
        ValueError: the folder holds no shard of the prefix, shards of both kinds, or a damaged one.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        paths = sorted(folder.glob(f"{prefix}-*.safetensors"))
        tars = sorted(folder.glob(f"{prefix}-*.tar"))
        if paths and tars:
            raise ValueError(
                f"got both {prefix}-*.safetensors and {prefix}-*.tar in {folder}, expected one "
                "kind: keep packed shards in a folder of their own"
            )
        if not paths and not tars:
            raise ValueError(
                f"no {prefix}-*.safetensors in {folder}: make them with "
                "python -m difffae.data.prepare, .motions and .pairs, in this order"
            )
        self._shards: list[MappedShard] = [map_safetensors(path) for path in paths]
        self._shards += [map_tar(path) for path in tars]
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        for path, shard in zip(paths + tars, self._shards, strict=True):
            if any(
                extents[-1:].max(initial=0) > len(shard.content)
                for extents in shard.extents.values()
            ):
                raise damaged(path, "its pictures reach past its end")

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def shard_sizes(self) -> list[int]:
        """How many samples each shard holds, in the order of the running index."""
        return [len(shard) for shard in self._shards]

    @property
    def label_names(self) -> list[str]:
        """Names of the labels."""
        return sorted(self._shards[0].labels)

    def picture(self, name: str, index: int) -> UInt8[NDArray[np.uint8], "h w 3"]:
        """One picture, RGB."""
        shard, row = self._find(index)
        first, end = shard.extents[name][row]
        image = cv2.imdecode(shard.content[first:end], cv2.IMREAD_COLOR)
        return np.ascontiguousarray(image[..., ::-1])

    def row(self, name: str, index: int) -> NDArray[Any]:
        """One sample's row of an array."""
        shard, row = self._find(index)
        return np.array(shard.arrays[name][row])

    def sample(self, index: int) -> Sample:
        """All of one sample, its pictures still encoded."""
        shard, row = self._find(index)
        return Sample(
            pictures={
                name: shard.content[slice(*extents[row])].tobytes()
                for name, extents in shard.extents.items()
            },
            arrays={name: np.array(array[row]) for name, array in shard.arrays.items()},
        )

    def column(self, name: str) -> NDArray[Any]:
        """All samples' rows of an array."""
        return np.concatenate([shard.arrays[name] for shard in self._shards])

    def labels(self, name: str) -> list[str]:
        """All samples' labels of a name."""
        return [label for shard in self._shards for label in json.loads(shard.labels[name])]

    def _find(self, index: int) -> tuple[MappedShard, int]:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._shards[shard], index - int(self._starts[shard])
