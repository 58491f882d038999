"""Arrays as others pickled them, against numpy, scipy and torch reading the same."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray

from difffae.pickled_arrays import OtherObject, read_object_npy, read_pickle
from difffae.restricted_pickle import DamagedPickleError, RefusedPickleError
from licensed_pickles import Named, chumpy, python2_pickle, python3_pickle, sparse

ARRAYS = {
    "f8": np.linspace(-1, 1, 12).reshape(3, 4),
    "big-endian": np.arange(6, dtype=">f4").reshape(2, 3),
    "columns first": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    "strided": np.arange(20, dtype=np.int32)[::3],
    "unsigned": np.array([0, 2**32 - 1], np.uint32),
    "bytes": np.arange(256, dtype=np.uint8),
    "truth": np.array([True, False]),
    "empty": np.zeros((0, 3)),
    "single": np.array(3.5),
    "scalar": np.float32(0.25),
}


def read(data: bytes, folder: Path) -> object:
    path = folder / "some.pkl"
    path.write_bytes(data)
    return read_pickle(path)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_read_as_numpy_wrote_them(name: str, protocol: int, tmp_path: Path) -> None:
    value = read(pickle.dumps([ARRAYS[name]], protocol), tmp_path)
    assert isinstance(value, list)
    np.testing.assert_array_equal(value[0], ARRAYS[name])
    assert value[0].dtype == ARRAYS[name].dtype.newbyteorder("=")
    assert value[0].dtype.isnative


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_read_as_python2_wrote_them(name: str, tmp_path: Path) -> None:
    value = read(python2_pickle({"a": ARRAYS[name]}), tmp_path)
    assert isinstance(value, dict)
    np.testing.assert_array_equal(value["a"], ARRAYS[name])


def test_numpy_2_names_are_admitted(tmp_path: Path) -> None:
    data = pickle.dumps(np.arange(4.0), 2).replace(b"numpy.core.", b"numpy._core.")
    np.testing.assert_array_equal(read(data, tmp_path), np.arange(4.0))


def test_the_writer_of_python2_pickles_writes_what_pickle_reads(tmp_path: Path) -> None:
    data = python2_pickle({"a": ARRAYS["f8"], "b": "text", "c": [1, (2, 3)]})
    value = pickle.loads(data, encoding="latin1")
    np.testing.assert_array_equal(value["a"], ARRAYS["f8"])
    assert (value["b"], value["c"]) == ("text", [1, (2, 3)])


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", [scipy.sparse.csc_matrix, scipy.sparse.csr_matrix])
def test_sparse_matrices_read_dense(kind: type, protocol: int, tmp_path: Path) -> None:
    dense = np.random.default_rng(0).random((5, 40)) * (np.arange(40) % 7 == 0)
    np.testing.assert_array_equal(read(pickle.dumps(kind(dense), protocol), tmp_path), dense)


@pytest.mark.parametrize("module", ["scipy.sparse.csc", "scipy.sparse._csc"])
def test_sparse_matrices_read_under_old_and_new_names(module: str, tmp_path: Path) -> None:
    dense = np.eye(5, 9)
    np.testing.assert_array_equal(read(python2_pickle(sparse(dense, module)), tmp_path), dense)


@pytest.mark.parametrize("indices", [[0, 7], [0, -1]])
def test_a_sparse_matrix_with_indices_outside_is_damaged(
    indices: list[int], tmp_path: Path
) -> None:
    matrix = sparse(np.eye(2), "scipy.sparse.csc")
    assert isinstance(matrix.state, dict)
    matrix.state["indices"] = np.array(indices, np.int32)
    with pytest.raises(DamagedPickleError):
        read(python2_pickle(matrix), tmp_path)


def test_a_sparse_matrix_too_large_when_dense_is_refused(tmp_path: Path) -> None:
    matrix = sparse(np.eye(2), "scipy.sparse.csc")
    assert isinstance(matrix.state, dict)
    matrix.state["_shape"] = (10**6, 10**6)
    with pytest.raises(RefusedPickleError, match="larger"):
        read(python2_pickle(matrix), tmp_path)


def test_chumpy_objects_read_as_the_array_they_hold(tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(2, 3)
    picked = Named(
        "chumpy.reordering",
        "Select",
        {"a": chumpy(array), "idxs": np.array([5, 0]), "preferred_shape": (2, 1)},
    )
    sum_of_two = Named("chumpy.ch_ops", "add", {"a": chumpy(array), "b": chumpy(array)})
    value = read(python2_pickle([chumpy(array), picked, sum_of_two]), tmp_path)
    assert isinstance(value, list)
    np.testing.assert_array_equal(value[0], array)
    np.testing.assert_array_equal(value[1], [[5], [0]])
    assert value[2] == OtherObject(name="chumpy.ch_ops.add")


def test_chumpy_objects_of_text_pickles_read_too(tmp_path: Path) -> None:
    data = (
        b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR(dS'x'\n"
        + pickle.dumps(np.arange(3.0), 0)[:-1]
        + b"sb."
    )
    np.testing.assert_array_equal(read(data, tmp_path), [0, 1, 2])


def test_ordered_dictionaries_read_as_dictionaries(tmp_path: Path) -> None:
    for protocol in (0, 2, 4):
        value = read(pickle.dumps(OrderedDict(a=1, b=[2]), protocol), tmp_path)
        assert value == {"a": 1, "b": [2]}
    assert read(b"ccollections\nOrderedDict\n(]](S'a'\nI1\neatR.", tmp_path) == {"a": 1}


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6).reshape(2, 3),
        torch.linspace(0, 1, 24).reshape(2, 3, 4).permute(2, 0, 1),
        torch.arange(10, dtype=torch.float64)[3:9:2],
        torch.tensor(5.0, dtype=torch.float16),
        torch.tensor([True, False]),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_read_as_arrays(tensor: torch.Tensor, protocol: int, tmp_path: Path) -> None:
    value = read(pickle.dumps({"t": tensor}, protocol), tmp_path)
    assert isinstance(value, dict)
    np.testing.assert_array_equal(value["t"], tensor.numpy())
    assert value["t"].dtype == tensor.numpy().dtype


def test_a_tensor_that_reaches_outside_its_memory_is_damaged(tmp_path: Path) -> None:
    data = pickle.dumps(torch.arange(6), 2)
    place = data.rindex(b"K\x06")  # its size, after the storage
    for change in (b"K\x07", b"K\x00"):
        with pytest.raises(DamagedPickleError, match="a tensor of"):
            read(data[:place] + change + data[place + 2 :], tmp_path)


def test_code_within_a_tensors_memory_is_refused(tmp_path: Path) -> None:
    inner = b"cos\nsystem\n(S'touch ran'\ntR."
    blob = b"X" + struct.pack("<I", len(inner)) + inner + b"Vlatin1\n"
    data = b"ctorch.storage\n_load_from_bytes\n(c_codecs\nencode\n(" + blob + b"tRtR"
    data = b"ctorch._utils\n_rebuild_tensor_v2\n(" + data + b"I0\n(I1\nt(I1\ntI00\nNtR."
    with pytest.raises(RefusedPickleError, match=r"os\.system"):
        read(data, tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x03K\x04\x86", b"K\x03K\x05\x86"),  # another shape
        (b"f8", b"f4"),  # another element size
        (b"f8", b"O8"),  # objects in place of numbers
        (b"f8", b"V8"),
        (b"f8", b"M8"),
    ],
)
def test_an_array_whose_bytes_do_not_fit_is_damaged(old: bytes, new: bytes, tmp_path: Path) -> None:
    data = pickle.dumps(ARRAYS["f8"], 2)
    assert old in data
    with pytest.raises(DamagedPickleError, match="array that makes no sense"):
        read(data.replace(old, new, 1), tmp_path)


def test_many_mentions_of_one_large_text_are_bounded(tmp_path: Path) -> None:
    one = pickle.dumps(np.zeros(1000), 4)[:-1]
    path = tmp_path / "many.pkl"
    path.write_bytes(b"(" + one * 20 + b"l.")
    assert isinstance(read_pickle(path), list)
    with pytest.raises(RefusedPickleError, match=r"arrays of the pickle are larger|at most"):
        read_pickle(path, max_bytes=100_000)


def npy(value: NDArray[np.generic], folder: Path) -> Path:
    path = folder / "some.npy"
    np.save(path, value, allow_pickle=True)
    return path


def test_an_object_npy_reads_as_numpy_reads_it(tmp_path: Path) -> None:
    value = {"a": np.arange(3), "b": torch.ones(2, 2), "c": 1}
    path = npy(np.array(value, object), tmp_path)
    found, expected = read_object_npy(path), np.load(path, allow_pickle=True)[()]
    assert isinstance(found, dict)
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(found["a"], expected["a"])
    np.testing.assert_array_equal(found["b"], expected["b"].numpy())


def test_a_plain_npy_reads_as_numpy_reads_it(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((4, 5))
    np.testing.assert_array_equal(read_object_npy(npy(array, tmp_path)), array)


def test_a_damaged_npy_is_named(tmp_path: Path) -> None:
    for value in (np.arange(100.0), np.array({"a": np.arange(100.0)}, object)):
        path = npy(value, tmp_path)
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(DamagedPickleError):
            read_object_npy(path)
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(DamagedPickleError, match=r"not a \.npy file"):
        read_object_npy(path)


def test_modern_pickles_of_named_objects_read(tmp_path: Path) -> None:
    dense = np.eye(3, 4)
    found = read(python3_pickle({"J": sparse(dense, "scipy.sparse._csc")}), tmp_path)
    assert isinstance(found, dict)
    np.testing.assert_array_equal(found["J"], dense)
