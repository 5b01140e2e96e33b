"""Reads a pickle of arrays, and nothing else: what it says to call is not called."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from typing import Any

import numpy as np

_DTYPE = re.compile(r"[a-zA-Z][0-9]{0,3}")  # such as f4


class _PickledDtype:
    """Stands in for `numpy.dtype` in a pickle: an array's code and byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if not _DTYPE.fullmatch(code):  # one of many fields takes NumPy long
            raise pickle.UnpicklingError(f"its array is of dtype {code[:40]!r}")
        self.code = code

    def __setstate__(self, state: tuple) -> None:
        self.code = state[1] + self.code  # such as "<" and "f4"


class _PickledArray:
    """Stands in for `numpy.ndarray`, whose constructor reads pointers from a given buffer.

    Its contents stay as they are until all is read: one text may stand for many arrays.
    """

    contents: bytes | str = b""
    layout: tuple[_PickledDtype, tuple, Any] | None = None  # dtype, shape and order

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran_order, self.contents = state
        self.layout = dtype, shape, "F" if fortran_order else "C"

    def array(self) -> np.ndarray | None:
        if self.layout is None:
            return None
        (dtype, shape, order), raw = self.layout, self.contents
        kind = np.dtype(dtype.code)
        if kind.hasobject:
            raise pickle.UnpicklingError("it holds an array of objects")
        # Python 2's byte strings arrive as latin1 text.
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, kind).reshape(shape, order=order)


def _array(raw: Any, dtype: _PickledDtype, shape: tuple, order: Any) -> _PickledArray:
    result = _PickledArray()
    result.contents, result.layout = raw, (dtype, shape, order)
    return result


def _empty_array(*_: Any) -> _PickledArray:
    return _PickledArray()


def _latin1(text: str, encoding: str) -> str:
    """Left as text, from which the array encodes it."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
    return text


# All that an array's pickle calls, under the module names of NumPy 1 and 2 and of Python 2, and
# what is called in its place: NumPy's own are no safer than what they are given.
_ADMITTED = {
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledDtype,
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty_array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array for core in ("core", "_core")},
}


class _ArrayUnpickler(pickle.Unpickler):
    """Builds NumPy arrays and refuses every other global."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only arrays are admitted")
        return _ADMITTED[module, name]


# What pickles of lists of arrays are made of, in all protocols; dictionaries, whose keys can be
# chosen so that each new one is compared with all, and whatever makes an object, are none of it.
_OPCODES = frozenset([
    *("MARK", "STOP", "POP", "POP_MARK", "DUP", "PROTO", "FRAME", "NONE", "NEWTRUE", "NEWFALSE"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET", "MEMOIZE"),
])  # fmt: skip
_BY_CODE = {opcode.code: opcode for opcode in pickletools.opcodes}
_MAX_OPCODES = 10_000  # an honest pickle has some 500
# Bytes of the length in front of an argument, by what pickletools calls such arguments.
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


def _check_opcodes(raw: bytes) -> None:
    """Walks through a pickle without doing what it says.

    Raises:
      pickle.UnpicklingError: it has a step that no list of arrays needs, or too many, or numbers
        its values so that a table of all numbers would fill memory.
    """
    position = 0
    for _ in range(_MAX_OPCODES):
        if position >= len(raw):
            raise pickle.UnpicklingError("it ends too early")
        opcode = _BY_CODE.get(chr(raw[position]))
        if opcode is None or opcode.name not in _OPCODES:
            name = f"byte {raw[position]}" if opcode is None else opcode.name
            raise pickle.UnpicklingError(f"{name} has no place among arrays")
        if opcode.name == "STOP":
            return
        start = position = position + 1
        size = 0 if opcode.arg is None else opcode.arg.n
        if size in _LENGTHS:
            start += _LENGTHS[size]
            position = start + int.from_bytes(raw[position:start], "little")
        elif size == pickletools.UP_TO_NEWLINE:
            for _line in range(2 if opcode.name == "GLOBAL" else 1):
                position = raw.index(b"\n", position) + 1
        else:
            position += size
        number = raw[start:position]
        if opcode.name == "PUT" and len(number) > 6:
            raise pickle.UnpicklingError("it numbers its values too high")
        if opcode.name == "LONG_BINPUT" and int.from_bytes(number, "little") > _MAX_OPCODES:
            raise pickle.UnpicklingError("it numbers its values too high")
    raise pickle.UnpicklingError(f"it has more than {_MAX_OPCODES:,} steps")


def load_arrays(raw: bytes, most: int) -> list[Any]:
    """The values of a pickled list or tuple, arrays among them as arrays.

    Args:
      raw: the pickle, of any protocol and of Python 2 or 3.
      most: bytes of all arrays together.

    Returns:
      The values; what is no array is a number, a text, or a list or tuple of such.

    Raises:
      pickle.UnpicklingError: it holds something else, or more; other kinds where it is damaged.
    """
    _check_opcodes(raw)
    # latin1 carries Python 2's byte strings, the arrays' contents, unchanged.
    value = _ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
    if not isinstance(value, list | tuple):
        kind = type(value).__name__
        raise pickle.UnpicklingError(f"it holds a {kind}, an oracle is a list of arrays")
    if sum(len(item.contents) for item in value if isinstance(item, _PickledArray)) > most:
        raise pickle.UnpicklingError(f"its arrays have more than {most:,} bytes")
    return [item.array() if isinstance(item, _PickledArray) else item for item in value]
