"""The bytes of a pickle in, plain data out: a reader that can run nothing.

Pickle's own loader calls whatever a file names. This reader never imports or calls a name of the
file: a name is a record, a call is a record of a name and its arguments, and only names on its
list are taken. `difffae.pickled_arrays` makes arrays of the records. Opcodes are those of Python's
`pickletools`.
"""

import codecs
import io
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass

MAX_OPCODES = 200_000  # a head model takes a few hundred
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_MAX_TEXT_INT = 64  # digits of a number in a text pickle

ARRAY_NAMES = frozenset(
    f"{package}.{name}"
    for package in ("numpy.core", "numpy._core")
    for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
) | {"numpy.ndarray", "numpy.dtype"}
SPARSE_NAMES = frozenset(
    f"scipy.sparse.{module}.{kind}_{form}"
    for kind in ("csc", "csr")
    for module in (kind, f"_{kind}")
    for form in ("matrix", "array")
)
CHUMPY_PREFIX = "chumpy."
TENSOR_NAMES = frozenset({"torch._utils._rebuild_tensor_v2", "torch.storage._load_from_bytes"})
STORAGE_NAMES = frozenset(
    f"torch.{kind}Storage"
    for kind in ("Float", "Double", "Half", "Long", "Int", "Short", "Char", "Byte", "Bool")
)
ORDERED_DICT = "collections.OrderedDict"
ENCODE = "_codecs.encode"
RECONSTRUCTORS = frozenset({"copy_reg._reconstructor", "copyreg._reconstructor"})
EMPTY_BYTES = frozenset({"__builtin__.bytes", "builtins.bytes"})
_OBJECTS = frozenset({"__builtin__.object", "builtins.object"})
_ADMITTED = (
    ARRAY_NAMES
    | SPARSE_NAMES
    | TENSOR_NAMES
    | STORAGE_NAMES
    | RECONSTRUCTORS
    | EMPTY_BYTES
    | _OBJECTS
    | {ORDERED_DICT, ENCODE}
)


class RestrictedPickleError(ValueError):
    """A pickle that is not read."""


class RefusedPickleError(RestrictedPickleError):
    """A pickle that asks for more than arrays, and so could run code."""


class DamagedPickleError(RestrictedPickleError):
    """A pickle that ends early or makes no sense."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """A class or function that a pickle names; it is never imported."""

    text: str


@dataclass(kw_only=True, eq=False)
class Record:
    """What a pickle would call or build, written down in place of being done.

    Attributes:
        name: what is called, or the class.
        arguments: of the call.
        state: what the object is filled with afterwards, None where it is not.
    """

    name: str
    arguments: tuple[object, ...]
    state: object = None


class _Mark:
    """Where on the stack a collection begins."""


class PickleReader:
    """Reads the pickles of a stream one after the other.

    Args:
        data: the stream.
        max_opcodes: steps in all, above which it is damaged.
    """

    def __init__(self, data: bytes, *, max_opcodes: int = MAX_OPCODES) -> None:
        self._max_opcodes = max_opcodes
        self._file = io.BytesIO(data)
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._num_opcodes = 0

    @property
    def rest(self) -> bytes:
        """What follows the last pickle read."""
        return self._file.read()

    def read(self) -> object:
        """One pickle's data: numbers, strings, lists, tuples, dictionaries, names and records.

        Raises:
            RefusedPickleError: it names something that is not on the list of arrays.
            DamagedPickleError: it ends early or makes no sense.
        """
        self._stack, self._memo = [], {}
        try:
            while not self._step():
                self._num_opcodes += 1
                if self._num_opcodes > self._max_opcodes:
                    raise DamagedPickleError(
                        f"got more than {self._max_opcodes} steps, expected a few arrays"
                    )
            return self._pop()
        except RestrictedPickleError:
            raise
        except (ValueError, TypeError, LookupError, OverflowError, struct.error) as error:
            raise DamagedPickleError(
                f"the pickle breaks off at byte {self._file.tell()}: {error}; fetch the whole file "
                "again"
            ) from error

    def _step(self) -> bool:
        """Carry out one opcode; True at the end."""
        code = self._file.read(1)
        opcode = _OPCODES.get(code.decode("latin-1"))
        if opcode is None:
            raise ValueError("it ends early" if not code else f"no such opcode: {code!r}")
        if opcode.name == "STOP":
            return True
        if opcode.name == "STRING":
            self._stack.append(_python2_string(self._file.readline()))
            return False
        operation = _OPERATIONS.get(opcode.name)
        if operation is None:
            raise RefusedPickleError(
                f"the pickle uses {opcode.name}, expected only plain data and arrays; nothing of "
                "it was run"
            )
        operation(self, None if opcode.arg is None else opcode.arg.reader(self._file))
        return False

    def _pop(self) -> object:
        value = self._stack.pop()
        if isinstance(value, _Mark):
            raise TypeError("a value is missing")
        return value

    def _pop_to_mark(self) -> list[object]:
        values: list[object] = []
        while not isinstance(value := self._stack.pop(), _Mark):
            values.append(value)
        return values[::-1]

    def _drop(self) -> None:
        self._stack.pop()

    def _drop_to_mark(self) -> None:
        self._pop_to_mark()

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _ignore(self, _: object) -> None:
        """Protocol numbers and frames carry no data."""

    def _push_number(self, value: object) -> None:
        if isinstance(value, int) and value.bit_length() > 4 * _MAX_TEXT_INT:
            raise ValueError("a number of too many digits")
        self._push(value)

    def _remember(self, key: object) -> None:
        value = self._stack[-1]
        self._memo[int(str(key)) if key is not None else len(self._memo)] = value

    def _recall(self, key: object) -> None:
        self._push(self._memo[int(str(key))])

    def _append(self, values: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise TypeError("elements of something that is no list")
        target.extend(values)

    def _set_items(self, values: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise TypeError("items of something that is no dictionary")
        target.update(_pairs(values))

    def _push_name(self, text: str) -> None:
        if text not in _ADMITTED and not text.startswith(CHUMPY_PREFIX):
            raise RefusedPickleError(
                f"the pickle asks for {text}, expected only arrays of numpy, scipy.sparse, chumpy "
                "or torch; nothing of it was run"
            )
        self._push(Name(text=text))

    def _stack_name(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("a name that is no text")
        self._push_name(f"{module}.{name}")

    def _call(self) -> None:
        arguments, target = self._pop(), self._pop()
        if not isinstance(target, Name) or not isinstance(arguments, tuple):
            raise RefusedPickleError(
                f"the pickle calls {_describe(target)}, expected a call that makes an array; "
                "nothing of it was run"
            )
        name = target.text
        if name in RECONSTRUCTORS and arguments and isinstance(arguments[0], Name):
            name, arguments = arguments[0].text, ()
        if name == ORDERED_DICT:
            self._push(_ordered(arguments))
        else:
            self._push(Record(name=name, arguments=arguments))

    def _build(self) -> None:
        state, target = self._pop(), self._stack[-1]
        if not isinstance(target, Record):
            raise RefusedPickleError(
                f"the pickle changes {_describe(target)}, expected a new array to be filled; "
                "nothing of it was run"
            )
        target.state = state

    def _storage(self) -> None:
        """A tensor's memory, referred to by its key (torch's persistent id)."""
        self._push(Record(name="torch storage", arguments=(self._pop(),)))


def _describe(value: object) -> str:
    """A value on the stack, in a word or its name."""
    if isinstance(value, Record):
        return f"an object of {value.name}"
    return value.text if isinstance(value, Name) else f"a value of type {type(value).__name__}"


def _python2_string(line: bytes) -> str:
    """Bytes as Python 2 wrote them in text pickles: quoted and escaped."""
    text = line.rstrip(b"\n")
    if not line.endswith(b"\n") or len(text) < 2 or text[:1] not in b"'\"" or text[-1:] != text[:1]:
        raise ValueError("it ends within a string")
    return codecs.escape_decode(text[1:-1])[0].decode("latin-1")


def _pairs(values: list[object]) -> dict[str | int, object]:
    """Keys and values in turn, as a dictionary."""
    keys = values[::2]
    if not all(isinstance(key, str | int) for key in keys):
        raise TypeError("a key that is neither text nor a number")
    return dict(zip(keys, values[1::2], strict=True))  # type: ignore[arg-type]


def _ordered(arguments: tuple[object, ...]) -> dict[str | int, object]:
    """A dictionary of the arguments of OrderedDict: none, or a list of pairs."""
    if not arguments:
        return {}
    pairs = arguments[0]
    if not isinstance(pairs, list):
        raise TypeError("a dictionary of something that is no list")
    return _pairs([part for key, value in pairs for part in (key, value)])


_Operation = Callable[[PickleReader, object], None]


def _of_stack(make: Callable[[list[object]], object], count: int) -> _Operation:
    """Replace the last values by one made of them."""

    def operate(reader: PickleReader, _: object) -> None:
        values = [reader._pop() for _ in range(count)][::-1]
        reader._push(make(values))

    return operate


def _of_marked(make: Callable[[list[object]], object]) -> _Operation:
    """Replace the values after the mark by one made of them."""
    return lambda reader, _: reader._push(make(reader._pop_to_mark()))


_TEXTS = "BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE"
_NUMBERS = "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT"
_OPERATIONS: dict[str, _Operation] = {
    **dict.fromkeys(f"{_TEXTS} SHORT_BINUNICODE BINUNICODE8".split(), PickleReader._push),
    **dict.fromkeys(_NUMBERS.split(), PickleReader._push_number),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), PickleReader._remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), PickleReader._recall),
    **dict.fromkeys(("PROTO", "FRAME"), PickleReader._ignore),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda reader, _: reader._call()),
    "NONE": _of_stack(lambda _: None, 0),
    "NEWTRUE": _of_stack(lambda _: True, 0),
    "NEWFALSE": _of_stack(lambda _: False, 0),
    "EMPTY_LIST": _of_stack(list, 0),
    "EMPTY_TUPLE": _of_stack(tuple, 0),
    "EMPTY_DICT": _of_stack(_pairs, 0),
    "TUPLE1": _of_stack(tuple, 1),
    "TUPLE2": _of_stack(tuple, 2),
    "TUPLE3": _of_stack(tuple, 3),
    "LIST": _of_marked(list),
    "TUPLE": _of_marked(tuple),
    "DICT": _of_marked(_pairs),
    "MARK": lambda reader, _: reader._push(_Mark()),
    "POP": lambda reader, _: reader._drop(),
    "POP_MARK": lambda reader, _: reader._drop_to_mark(),
    "APPEND": lambda reader, _: reader._append([reader._pop()]),
    "APPENDS": lambda reader, _: reader._append(reader._pop_to_mark()),
    "SETITEM": lambda reader, _: reader._set_items([reader._pop(), reader._pop()][::-1]),
    "SETITEMS": lambda reader, _: reader._set_items(reader._pop_to_mark()),
    "GLOBAL": lambda reader, text: reader._push_name(str(text).replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda reader, _: reader._stack_name(),
    "BUILD": lambda reader, _: reader._build(),
    "BINPERSID": lambda reader, _: reader._storage(),
}
