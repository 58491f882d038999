"""Pickles as others wrote them: Python 2 with chumpy and old scipy names, or Python 3.

None of those packages is needed to write them, and nothing is ever loaded here.
"""

import io
import pickle
import struct
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix


class Named:
    """An object of a class of any name, with its state."""

    def __init__(self, module: str, name: str, state: object) -> None:
        self.reference, self.state = Reference(module, name), state


class Reference:
    """A global of any name, as a pickle refers to it."""

    def __init__(self, module: str, name: str) -> None:
        self.text = f"c{module}\n{name}\n".encode()


class Dialect(pickle._Pickler):
    """Python's own pickler in Python, with globals by name alone."""

    is_python2 = True
    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, Reference):
            self.write(value.text)
        elif isinstance(value, Named):
            self.save(value.reference)
            self.write(b")\x81")  # no arguments, __new__
            self.save(value.state)
            self.write(b"b")
        elif self.is_python2 and isinstance(value, bytes | str):
            data = value.encode("latin-1") if isinstance(value, str) else value
            self.write(b"T" + struct.pack("<i", len(data)) + data)
        else:
            super().save(value, save_persistent_id)


class Modern(Dialect):
    """Python 3's own strings and bytes."""

    is_python2 = False


def python2_pickle(value: object) -> bytes:
    """What cPickle of Python 2 writes with protocol 2: strings of bytes, also for array data."""
    file = io.BytesIO()
    Dialect(file, protocol=2).dump(value)
    return file.getvalue()


def python3_pickle(value: object, protocol: int = 4) -> bytes:
    """What Python 3 writes, with `Named` objects allowed."""
    file = io.BytesIO()
    Modern(file, protocol=protocol).dump(value)
    return file.getvalue()


def chumpy(array: NDArray[Any]) -> Named:
    """An array as chumpy of Python 2 wrapped it."""
    state = {"x": array, "_dirty_vars": [], "_itr": None, "_depends_on_deps": None}
    return Named("chumpy.ch", "Ch", state)


def sparse(dense: NDArray[Any], module: str) -> Named:
    """A compressed-column matrix under an old or new name of scipy's module."""
    matrix = csc_matrix(dense)
    state = {
        "_shape": matrix.shape,
        "data": matrix.data,
        "format": "csc",
        "indices": matrix.indices.astype(np.int32),
        "indptr": matrix.indptr.astype(np.int32),
        "maxprint": 50,
    }
    return Named(module, "csc_matrix", state)
