"""Arrays out of pickles that others wrote, with nothing in them run.

A file of numpy arrays, compressed sparse matrices, chumpy's wrapped arrays or torch tensors in, in
the dialects of Python 2 and 3; dictionaries, lists and plain numpy arrays out.
"""

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from difffae.restricted_pickle import (
    ARRAY_NAMES,
    CHUMPY_PREFIX,
    EMPTY_BYTES,
    ENCODE,
    SPARSE_NAMES,
    STORAGE_NAMES,
    DamagedPickleError,
    Name,
    PickleReader,
    Record,
    RefusedPickleError,
)

MAX_BYTES = 1 << 30  # of a file, and of all arrays read from it
_MAX_DEPTH = 32
_DTYPE = re.compile(r"(\|?)(b1|[iu][1248]|f[248])")
_NPY_MAGIC = b"\x93NUMPY"
_NPY_OBJECT = re.compile(rb"'descr': *'\|O\d?'")
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a file of torch.save's older form
_TORCH_PROTOCOL = 1001
_TORCH_TYPES = {
    "Float": "<f4",
    "Double": "<f8",
    "Half": "<f2",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "i1",
    "Byte": "u1",
    "Bool": "b1",
}

AnyArray = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class OtherObject:
    """Something in the file that is no array, for example an expression of chumpy."""

    name: str


def read_pickle(path: Path, *, max_bytes: int = MAX_BYTES) -> object:
    """The data of a pickle: dictionaries, lists, tuples, text, numbers, arrays, None.

    Sparse matrices come back dense, chumpy's objects as the array they hold, tensors as arrays.
    Text and bytes of Python 2 are both text, read as latin-1.

    Args:
        path: file to read.
        max_bytes: size of the file, and of all its arrays together, above which it is refused.

    Raises:
        RefusedPickleError: it asks for anything that is not an array, or is too large.
        DamagedPickleError: it ends early or makes no sense.
        OSError: the file cannot be read.
    """
    return _loads(_read_bytes(path, max_bytes), max_bytes)


def read_object_npy(path: Path, *, max_bytes: int = MAX_BYTES) -> object:
    """The data of a .npy file; where it is an array of one pickled object, that object.

    Args:
        path: file to read.
        max_bytes: as in `read_pickle`.

    Raises:
        RefusedPickleError: as `read_pickle`.
        DamagedPickleError: as `read_pickle`, or it is no .npy file.
        OSError: the file cannot be read.
    """
    data = _read_bytes(path, max_bytes)
    start = _object_start(data)
    if start is None:
        try:
            return np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DamagedPickleError(
                f"not a whole .npy file ({error}), expected one; fetch it again"
            ) from error
    array = _loads(data[start:], max_bytes)
    return array[0] if isinstance(array, list) and len(array) == 1 else array


def _object_start(data: bytes) -> int | None:
    """Where the pickle of a .npy file of objects begins; None in one of numbers."""
    if not data.startswith(_NPY_MAGIC) or len(data) < 12:
        raise DamagedPickleError("not a .npy file, expected one; fetch it again")
    begin = 10 if data[6] == 1 else 12
    end = begin + int.from_bytes(data[8:begin], "little")
    return end if _NPY_OBJECT.search(data[begin:end]) else None


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    """A file's content, if it is not too large."""
    num_bytes = path.stat().st_size
    if num_bytes > max_bytes:
        raise RefusedPickleError(f"got {num_bytes} bytes, expected at most {max_bytes}")
    return path.read_bytes()


def _loads(data: bytes, max_bytes: int) -> object:
    """Read and resolve one pickle."""
    value = PickleReader(data).read()
    try:
        return _Resolver(max_bytes).resolve(value)
    except (DamagedPickleError, RefusedPickleError):
        raise
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise DamagedPickleError(
            f"the pickle holds an array that makes no sense ({error}), expected whole arrays; "
            "fetch the file again"
        ) from error


class _Resolver:
    """Turns records into the arrays they stand for, each once."""

    def __init__(self, max_bytes: int) -> None:
        self._bytes_left = max_bytes
        self._done: dict[int, object] = {}
        self._depth = 0

    def resolve(self, value: object) -> object:
        """Plain data of a value read from a pickle."""
        if not isinstance(value, list | tuple | dict | Record | Name):
            return value
        if id(value) not in self._done:
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise DamagedPickleError(f"data nested more than {_MAX_DEPTH} deep")
            self._done[id(value)] = self._resolve_compound(value)
            self._depth -= 1
        return self._done[id(value)]

    def _resolve_compound(self, value: object) -> object:
        """A collection's parts, or what a record stands for."""
        if isinstance(value, dict):
            return {key: self.resolve(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self.resolve(part) for part in value]
        if isinstance(value, tuple):
            return tuple(self.resolve(part) for part in value)
        if isinstance(value, Record):
            return self._record(value)
        return OtherObject(name=value.text) if isinstance(value, Name) else value

    def _record(self, record: Record) -> object:
        """What a record stands for."""
        makers: dict[str, Callable[[Record], object]] = {
            "numpy.dtype": _dtype,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            ENCODE: _encoded,
        }
        if record.name in makers:
            return makers[record.name](record)
        if record.name in EMPTY_BYTES and not record.arguments:
            return b""
        if record.name in ARRAY_NAMES:
            return self._array(record)
        if record.name in SPARSE_NAMES:
            return self._sparse(record)
        if record.name.startswith(CHUMPY_PREFIX):
            return self._chumpy(record)
        return OtherObject(name=record.name)

    def _array(self, record: Record) -> object:
        """A numpy array of its state or its arguments; a list for an array of objects."""
        if record.name.endswith("._frombuffer"):
            data, dtype, shape, order = record.arguments
            return self._from_bytes(data, dtype, shape, is_fortran=order == "F")
        if record.name.endswith(".scalar"):
            dtype, data = record.arguments
            return self._from_bytes(data, dtype, (), is_fortran=False)[()]
        if not isinstance(record.state, tuple) or len(record.state) not in (4, 5):
            raise TypeError("an array without content")
        shape, dtype, is_fortran, data = record.state[-4:]
        if isinstance(data, list):
            return self.resolve(data)
        return self._from_bytes(data, dtype, shape, is_fortran=bool(is_fortran))

    def _from_bytes(
        self, data: object, dtype: object, shape: object, *, is_fortran: bool
    ) -> AnyArray:
        """An array in the machine's byte order, not writeable where that needs no copy."""
        kind, sizes, raw = self.resolve(dtype), _sizes(shape), _as_bytes(self.resolve(data))
        if not isinstance(kind, np.dtype):
            raise TypeError("an array of no element type")
        if math.prod(sizes) * kind.itemsize != len(raw):
            raise ValueError(f"{len(raw)} bytes for an array of {sizes} of {kind}")
        self._spend(len(raw))
        array = np.frombuffer(raw, kind).reshape(sizes, order="F" if is_fortran else "C")
        return np.asarray(array, kind.newbyteorder("="))

    def _sparse(self, record: Record) -> AnyArray:
        """A compressed sparse matrix, dense."""
        from scipy.sparse import csc_matrix, csr_matrix

        state = self.resolve(record.state)
        if not isinstance(state, dict):
            raise TypeError("a sparse matrix without content")
        sizes = _sizes(state.get("_shape", state.get("shape")))
        parts = [state[key] for key in ("data", "indices", "indptr")]
        if len(sizes) != 2 or not all(isinstance(part, np.ndarray) for part in parts):
            raise TypeError("a sparse matrix of other parts than arrays")
        self._spend(8 * math.prod(sizes))
        kind = csc_matrix if "csc_" in record.name else csr_matrix
        matrix = kind(tuple(parts), shape=sizes)
        matrix.check_format(full_check=True)
        return np.asarray(matrix.toarray())

    def _chumpy(self, record: Record) -> object:
        """The array that an object of chumpy holds (`x`, `r`), or picks from another (`Select`)."""
        state = self.resolve(record.state)
        if isinstance(state, dict):
            for key in ("x", "r"):
                if isinstance(state.get(key), np.ndarray):
                    return state[key]
            whole, picked = state.get("a"), state.get("idxs")
            if isinstance(whole, np.ndarray) and isinstance(picked, np.ndarray):
                return whole.ravel()[picked].reshape(_sizes(state["preferred_shape"]))
        return OtherObject(name=record.name)

    def _tensor(self, record: Record) -> AnyArray:
        """A torch tensor's numbers, out of the file of its storage that lies in the pickle."""
        storage, offset, size, stride = record.arguments[:4]
        if not isinstance(storage, Record) or storage.name != "torch.storage._load_from_bytes":
            raise TypeError("a tensor without memory")
        memory = _storage(_as_bytes(self.resolve(storage.arguments[0])))
        sizes, strides, start = _sizes(size), _sizes(stride), *_sizes((offset,))
        last = start + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        if 0 in sizes or last >= len(memory) or math.prod(sizes) > len(memory):
            raise ValueError(f"a tensor of {sizes} in a memory of {len(memory)} numbers")
        self._spend(math.prod(sizes) * memory.itemsize)
        index = np.full(sizes, start)
        for axis, (n, step) in enumerate(zip(sizes, strides, strict=True)):
            shape = [1] * len(sizes)
            shape[axis] = n
            index += (np.arange(n) * step).reshape(shape)
        return np.asarray(memory[index])

    def _spend(self, num_bytes: int) -> None:
        """Count what the arrays take."""
        self._bytes_left -= num_bytes
        if self._bytes_left < 0:
            raise RefusedPickleError("the arrays of the pickle are larger than a head model's")


def _encoded(record: Record) -> bytes:
    """Bytes that protocol 2 wrote as text."""
    text, encoding = record.arguments
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError("text of another encoding than latin1")
    return text.encode("latin-1")


def _as_bytes(value: object) -> bytes:
    """Bytes, or text of Python 2, which is the same."""
    if isinstance(value, str):
        return value.encode("latin-1")
    if not isinstance(value, bytes | bytearray):
        raise TypeError(f"an array of {type(value).__name__}, not of bytes")
    return bytes(value)


def _sizes(value: object) -> tuple[int, ...]:
    """A shape or strides: at most eight whole numbers from 0 up."""
    if not isinstance(value, tuple | list) or len(value) > 8:
        raise TypeError("a shape that is no tuple of a few numbers")
    if not all(type(size) is int and 0 <= size < 1 << 40 for size in value):
        raise ValueError(f"the shape {value}")
    return tuple(value)


def _dtype(record: Record) -> np.dtype[np.generic]:
    """The element type: whole numbers, floats or truth values."""
    text = str(record.arguments[0]) if record.arguments else ""
    if text in ("O8", "O4", "O", "|O"):
        return np.dtype(object)
    if not _DTYPE.fullmatch(text):
        raise ValueError(f"elements of type {text!r}")
    order = record.state[1] if isinstance(record.state, tuple) and len(record.state) > 1 else "="
    if order not in ("<", ">", "=", "|"):
        raise ValueError(f"byte order {order!r}")
    return np.dtype(f"{order}{text.removeprefix('|')}")


def _storage(data: bytes) -> AnyArray:
    """The numbers of one storage in torch.save's form of before version 1.6."""
    reader = PickleReader(data)
    magic, protocol, _ = reader.read(), reader.read(), reader.read()
    record, keys = reader.read(), reader.read()
    if (magic, protocol) != (_TORCH_MAGIC, _TORCH_PROTOCOL) or not isinstance(record, Record):
        raise ValueError("a tensor of an unknown form")
    identifier = record.arguments[0]
    if not isinstance(identifier, tuple) or len(identifier) < 5:
        raise TypeError("a tensor's memory without a name")
    _, kind, key, _, count = identifier[:5]
    if not isinstance(kind, Name) or kind.text not in STORAGE_NAMES or keys != [key]:
        raise TypeError("a tensor's memory of an unknown type")
    dtype = np.dtype(_TORCH_TYPES[kind.text.removeprefix("torch.").removesuffix("Storage")])
    raw = reader.rest
    size = int.from_bytes(raw[:8], "little")
    if size != count or len(raw) < 8 + size * dtype.itemsize:
        raise ValueError("a tensor's memory that ends early")
    return np.frombuffer(raw, dtype, size, offset=8)
