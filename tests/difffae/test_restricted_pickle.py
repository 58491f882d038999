"""Pickles that ask for more than arrays: each is refused by name, and nothing of it is run."""

import functools
import operator
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from difffae.pickled_arrays import OtherObject, read_object_npy, read_pickle
from difffae.restricted_pickle import (
    DamagedPickleError,
    PickleReader,
    RefusedPickleError,
    RestrictedPickleError,
)
from licensed_pickles import Named, python2_pickle


class Reduced:
    """Pickles as a call of this function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


class Foreign:
    """A class of the test's own, with state."""

    def __init__(self) -> None:
        self.x = np.zeros(3)


def read(data: bytes, folder: Path) -> object:
    """Write a pickle and read it."""
    path = folder / "some.pkl"
    path.write_bytes(data)
    return read_pickle(path)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Reduced(os.system, "touch ran"), "system"),
        (Reduced(eval, "open('ran', 'w')"), "eval"),
        (Reduced(exec, "open('ran', 'w')"), "exec"),
        (Reduced(getattr, os, "system"), "getattr"),
        (Reduced(__import__, "this"), "__import__"),
        (Reduced(subprocess.Popen, "touch ran", 0), "Popen"),
        (Reduced(np.fromfile, "/etc/hostname"), "fromfile"),
        (Reduced(np.load, "x.npy"), "load"),
        (Reduced(np.frombuffer, b"abc"), "frombuffer"),
        (Reduced(np.memmap, "ran"), "memmap"),
        (Reduced(operator.attrgetter, "system"), "attrgetter"),
        (Reduced(functools.partial, os.system, "touch ran"), "partial"),
        (Reduced(pickle.loads, b"N."), "loads"),
        (Reduced(bytearray, 10**15), "bytearray"),
        (Reduced(print, "hello"), "print"),
    ],
)
def test_a_call_is_refused_by_name_and_not_made(
    call: Reduced,
    name: str,
    protocol: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if call.call[0] is getattr:  # a module does not pickle: name it as an attacker would
        data = b"c__builtin__\ngetattr\n(cos\n\nS'system'\ntR."
    else:
        data = pickle.dumps({"v_template": call}, protocol)
    with pytest.raises(RefusedPickleError, match=rf"asks for [\w.]*{name}.*nothing of it was run"):
        read(data, tmp_path)
    assert not (tmp_path / "ran").exists()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps(Foreign(), 2), "test_restricted_pickle"),
        (pickle.dumps(SimpleNamespace(x=1), 2), "SimpleNamespace"),
        (pickle.dumps(Counter("aab"), 2), "collections.Counter"),
        (pickle.dumps({1, 2}, 4), "EMPTY_SET"),
        (pickle.dumps({1, 2}, 2), "set"),
        (pickle.dumps(np.dtype("f8").type, 2), "numpy.float64"),
        (b"(S'touch ran'\nios\nsystem\n.", "INST"),
        (b"(cos\nsystem\nS'touch ran'\no.", "os.system"),
        (b"(cnumpy\ndtype\nS'f8'\no.", "OBJ"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"Psecret\n.", "PERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"cnumpy\nndarray\n}S'__module__'\nS'x'\nsb.", "changes numpy.ndarray"),
        (b"ccollections\nOrderedDict\n}S'x'\nI1\nsb.", "changes collections.OrderedDict"),
        (b"]}S'x'\nI1\nsb.", "changes a value of type list"),
        (b"S'text'\n)R.", "calls a value of type str"),
        (b"cnumpy\ndtype\n(S'f8'\ntR)R.", "calls an object of numpy.dtype"),
        (b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.", "numpy.ndarray.__init__"),
    ],
)
def test_other_ways_to_more_than_data_are_refused(
    data: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedPickleError, match=message):
        read(data, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_no_module_a_pickle_names_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chumpy.py").write_text("raise SystemExit('imported')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    value = read(python2_pickle(Named("chumpy.ch", "Ch", {"y": 1})), tmp_path)
    assert value == OtherObject(name="chumpy.ch.Ch")
    assert "chumpy" not in sys.modules


def test_codecs_other_than_latin1_are_refused(tmp_path: Path) -> None:
    for encoding in (b"rot13", b"zlib", b"hex"):
        data = b"c_codecs\nencode\n(Vabc\nV" + encoding + b"\ntR."
        with pytest.raises(DamagedPickleError, match="another encoding"):
            read(data, tmp_path)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_data_reads_as_it_was_written(protocol: int, tmp_path: Path) -> None:
    value = {
        "text": "ü\n'x'",
        "list": [1, -2, 3.5, True, None, 70000, 2**40],
        "pairs": [(1, 2), (), (1, 2, 3, 4)],
        "nested": {"a": {"b": []}},
        7: "seven",
    }
    assert read(pickle.dumps(value, protocol), tmp_path) == value
    assert read(python2_pickle({"a": ["b", 1.5]}), tmp_path) == {"a": ["b", 1.5]}


def test_python2_text_pickles_read_their_escapes(tmp_path: Path) -> None:
    data = b"(dp0\nS'k\\xe9y'\np1\nS\"a'b\\n\"\np2\nsg1\ng2\ns."
    assert read(data, tmp_path) == {"k\xe9y": "a'b\n"}


def test_every_shortened_pickle_is_damaged(tmp_path: Path) -> None:
    data = python2_pickle({"a": np.arange(6.0).reshape(2, 3), "b": ["x", 1]})
    for length in range(len(data) - 1):
        with pytest.raises(DamagedPickleError):
            read(data[:length], tmp_path)


def test_changed_bytes_never_get_past_the_two_errors() -> None:
    rng = np.random.default_rng(0)
    original = pickle.dumps({"a": np.arange(6.0), "b": np.arange(3)[::2], "c": "text"}, 2)
    outcomes = Counter()
    for _ in range(400):
        data = bytearray(original)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        try:
            PickleReader(bytes(data)).read()
            outcomes["read"] += 1
        except RestrictedPickleError as error:
            outcomes[type(error).__name__] += 1
    assert set(outcomes) == {"read", "DamagedPickleError", "RefusedPickleError"}


def test_data_that_holds_itself_or_nests_without_end_is_damaged(tmp_path: Path) -> None:
    itself: list[object] = []
    itself.append(itself)
    with pytest.raises(DamagedPickleError, match="deep"):
        read(pickle.dumps(itself, 2), tmp_path)
    with pytest.raises(DamagedPickleError, match="deep"):
        read(b"(" * 0 + b"]" * 100 + b"a" * 99 + b".", tmp_path)


def test_shared_parts_are_read_once(tmp_path: Path) -> None:
    laughs: list[object] = ["ha"]
    for _ in range(25):
        laughs = [laughs, laughs]  # 2**25 if each mention were copied
    value = read(pickle.dumps(laughs, 2), tmp_path)
    assert isinstance(value, list)
    assert value[0] is value[1]


def test_size_and_steps_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "large.pkl"
    path.write_bytes(b"N" * 100)
    with pytest.raises(RefusedPickleError, match="got 100 bytes, expected at most 99"):
        read_pickle(path, max_bytes=99)
    with pytest.raises(DamagedPickleError, match="got more than 10 steps"):
        PickleReader(b"N" * 11 + b".", max_opcodes=10).read()
    with pytest.raises(DamagedPickleError, match="too many digits"):
        read(b"L" + b"9" * 200 + b"L\n.", tmp_path)


def test_an_object_npy_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "landmarks.npy"
    np.save(path, np.array(Reduced(os.system, "touch ran"), object), allow_pickle=True)
    with pytest.raises(RefusedPickleError, match=r"asks for posix\.system"):
        read_object_npy(path)
