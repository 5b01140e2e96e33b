"""The oracle: a fixed LSTM, the real data's distribution (arXiv 1609.05473, section 5.1)."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import re
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from seqgan_jax.checked import DataError
from seqgan_jax.files import check_npz, read_file
from seqgan_jax.models import generator
from seqgan_jax.types import Array, LanguageModel, Params

# The original code's order; gates i(nput), f(orget), o(utput), c(ell), each as W x + U h + b.
_NAMES = ("emb", *(f"{kind}{gate}" for gate in "ifoc" for kind in "WUb"), "W_out", "b_out")
MAX_BYTES = 100_000_000  # of a file, and of its arrays: 100,000 tokens with E = H = 100


class Oracle(NamedTuple):
    """A language model with the parameters that make it the ground truth."""

    language_model: LanguageModel
    params: Params


def init_oracle(
    key: Array,
    vocab_size: int = 5000,
    embed_dim: int = 32,
    hidden_dim: int = 32,
    start_token: int = 0,
) -> Oracle:
    """Draws an oracle: an LSTM whose every parameter is N(0, 1), as in the paper.

    Args:
      key: a random key, consumed.
      vocab_size: V.
      embed_dim: E.
      hidden_dim: H.
      start_token: fed before the first position.

    Returns:
      The oracle.
    """
    model = generator.lstm(vocab_size, embed_dim, hidden_dim, start_token, init_scale=1.0)
    return Oracle(model, model.init(key))


def load_oracle(path: str | os.PathLike[str], start_token: int = 0) -> Oracle:
    """Reads an oracle's weights.

    Args:
      path: a `.pkl` as the original code publishes it (`save/target_params*.pkl`, written by
        Python 2 or 3), a list of 15 arrays; or a `.npz` with the same arrays, named emb, Wi, Ui,
        bi, Wf, ..., W_out, b_out, or arr_0 ... arr_14 in that order; of at most 100 MB. A pickle is
        read by an unpickler that admits NumPy arrays and nothing else.
      start_token: fed before the first position.

    Returns:
      The oracle.

    Raises:
      DataError: no such file, or it is of another kind, too large, holds anything but 15 arrays of
        finite floats whose shapes fit together, or would run code.
    """
    path = os.fspath(path)
    read = {".pkl": _unpickle, ".npz": _read_npz}.get(os.path.splitext(path)[1])
    if read is None:
        raise DataError(f"{path}: an oracle is a .pkl or a .npz file")
    arrays = read(path, read_file(path, MAX_BYTES))
    named = dict(zip(_NAMES, _checked(path, arrays), strict=True))
    vocab_size, embed_dim = named["emb"].shape
    model = generator.lstm(vocab_size, embed_dim, named["bi"].shape[0], start_token, init_scale=1.0)
    params = {
        "embedding": named["emb"],
        "input_kernel": np.concatenate([named[f"W{gate}"] for gate in "ifoc"], axis=1),
        "recurrent_kernel": np.concatenate([named[f"U{gate}"] for gate in "ifoc"], axis=1),
        "bias": np.concatenate([named[f"b{gate}"] for gate in "ifoc"]),
        "output_kernel": named["W_out"],
        "output_bias": named["b_out"],
    }
    return Oracle(model, {name: jnp.asarray(value) for name, value in params.items()})


def _checked(path: str, arrays: list[Any]) -> list[np.ndarray]:
    """The 15 arrays as float32, or an error that names the one at fault."""
    if len(arrays) != len(_NAMES):
        raise DataError(f"{path}: holds {len(arrays)} arrays, an oracle has {len(_NAMES)}")
    result, size = [], 0
    for name, array in zip(_NAMES, arrays, strict=True):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise DataError(f"{path}: {name} is no array of floats but {_kind(array)}")
        size += array.size
        if 4 * size > MAX_BYTES:  # of one array in several places
            raise DataError(f"{path}: its arrays have more than {MAX_BYTES:,} bytes")
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite
            result.append(array.astype(np.float32))
        if not np.isfinite(result[-1]).all():
            raise DataError(f"{path}: {name} holds NaN or infinity")
    named = dict(zip(_NAMES, result, strict=True))
    two_sizes = named["emb"].ndim == 2 and named["bi"].ndim == 1
    if not two_sizes or not named["emb"].size or not named["bi"].size:
        raise DataError(
            f"{path}: emb {named['emb'].shape} must be [V, E] and bi {named['bi'].shape} [H]"
        )
    (V, E), (H,) = named["emb"].shape, named["bi"].shape
    wanted = {"W": (E, H), "U": (H, H), "b": (H,)}
    for name, array in named.items():
        shape = {"emb": (V, E), "W_out": (H, V), "b_out": (V,)}.get(name) or wanted[name[0]]
        if array.shape != shape:
            raise DataError(
                f"{path}: {name} has shape {array.shape}; "
                f"with V={V}, E={E}, H={H} it must be {shape}"
            )
    return result


def _briefly(error: Exception) -> str:
    """A damaged file's own words may stand in it, and be long."""
    words = str(error) or type(error).__name__
    return words if len(words) <= 200 else f"{words[:200]}..."


def _kind(value: Any) -> str:
    return f"{value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__


def _read_npz(path: str, raw: bytes) -> list[Any]:
    try:
        file = io.BytesIO(raw)
        check_npz(file, MAX_BYTES)
        with np.load(file, allow_pickle=False) as archive:
            given = set(archive.files)
            numbered = tuple(f"arr_{i}" for i in range(len(_NAMES)))
            for names in (_NAMES, numbered):
                if given == set(names):
                    return [archive[name] for name in names]
    # So can a damaged archive, zlib's errors and a bare .npy among the ways.
    except Exception as error:
        raise DataError(f"{path}: no readable .npz of plain arrays ({_briefly(error)})") from error
    listed = ", ".join(sorted(given)[: len(_NAMES) + 1])[:200]
    raise DataError(f"{path}: holds {listed}; an oracle has {', '.join(_NAMES)}")


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
_OPCODES = frozenset(
    "MARK STOP POP POP_MARK DUP PROTO FRAME GLOBAL STACK_GLOBAL REDUCE BUILD NONE NEWTRUE NEWFALSE "
    "INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 "
    "EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE".split()
)
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
        opcode = pickletools.code2op.get(chr(raw[position]))
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


def _unpickle(path: str, raw: bytes) -> list[Any]:
    try:
        _check_opcodes(raw)
        # latin1 carries Python 2's byte strings, the arrays' contents, unchanged.
        value = _ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
        if not isinstance(value, list | tuple):
            kind = type(value).__name__
            raise pickle.UnpicklingError(f"it holds a {kind}, an oracle is a list of arrays")
        if sum(len(item.contents) for item in value if isinstance(item, _PickledArray)) > MAX_BYTES:
            raise pickle.UnpicklingError(f"its arrays have more than {MAX_BYTES:,} bytes")
        return [item.array() if isinstance(item, _PickledArray) else item for item in value]
    # A damaged pickle can fail in any way: whatever it raises, the file is not an oracle.
    except Exception as error:
        raise DataError(f"{path}: no readable pickle of arrays ({_briefly(error)})") from error
