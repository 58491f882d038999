"""Shards of training data: JPEG pictures and arrays in safetensors files, read by memory map."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

JPEG_QUALITY = 95
_OFFSETS = ".offsets"


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


def write_shard(path: Path, contents: ShardContents) -> None:
    """Write one shard atomically."""
    tensors = dict(contents.arrays)
    for name, blobs in contents.pictures.items():
        tensors[name] = np.frombuffer(b"".join(blobs), np.uint8)
        tensors[name + _OFFSETS] = np.cumsum([0] + [len(blob) for blob in blobs]).astype(np.int64)
    metadata = {name: json.dumps(list(values)) for name, values in contents.labels.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    save_file(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        temporary,
        metadata=metadata,
    )
    temporary.rename(path)


class ShardReader:
    """Samples of all shards of a folder, by one running index.

    Raises:
        ValueError: the folder holds no shard of the prefix.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        paths = sorted(folder.glob(f"{prefix}-*.safetensors"))
        if not paths:
            raise ValueError(
                f"no {prefix}-*.safetensors in {folder}: make them with "
                "python -m difffae.data.prepare and python -m difffae.data.pairs"
            )
        self._files: list[Any] = [safe_open(path, "numpy") for path in paths]
        self._labels = [file.metadata() or {} for file in self._files]
        self._arrays: list[dict[str, NDArray[Any]]] = []
        self._blobs: list[dict[str, NDArray[Any]]] = []
        for path, file in zip(paths, self._files, strict=True):
            names = set(file.keys())
            pictures = {name for name in names if name + _OFFSETS in names}
            self._arrays.append({name: file.get_tensor(name) for name in names - pictures})
            self._blobs.append({name: _mapped(path, name) for name in pictures})
        sizes = [self._count(k) for k in range(len(self._files))]
        self._starts = np.cumsum([0, *sizes])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def picture(self, name: str, index: int) -> UInt8[NDArray[np.uint8], "h w 3"]:
        """One picture, RGB."""
        shard, row = self._find(index)
        offsets = self._arrays[shard][name + _OFFSETS]
        blob = self._blobs[shard][name][offsets[row] : offsets[row + 1]]
        image = cv2.imdecode(blob, cv2.IMREAD_COLOR)
        return np.ascontiguousarray(image[..., ::-1])

    def row(self, name: str, index: int) -> NDArray[Any]:
        """One sample's row of an array."""
        shard, row = self._find(index)
        return np.asarray(self._arrays[shard][name][row])

    def column(self, name: str) -> NDArray[Any]:
        """All samples' rows of an array."""
        return np.concatenate([arrays[name] for arrays in self._arrays])

    def labels(self, name: str) -> list[str]:
        """All samples' labels of a name."""
        return [label for labels in self._labels for label in json.loads(labels[name])]

    def _count(self, shard: int) -> int:
        offsets = [array for name, array in self._arrays[shard].items() if name.endswith(_OFFSETS)]
        if offsets:
            return len(offsets[0]) - 1
        return len(next(iter(self._arrays[shard].values())))

    def _find(self, index: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return shard, index - int(self._starts[shard])


def _mapped(path: Path, name: str) -> NDArray[np.uint8]:
    """A byte tensor of a safetensors file, memory-mapped: the header says where it lies."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        begin, end = json.loads(file.read(length))[name]["data_offsets"]
    return np.memmap(path, np.uint8, "r", offset=8 + length + begin, shape=(end - begin,))
