"""The oracle: a fixed LSTM, the real data's distribution (arXiv 1609.05473, section 5.1)."""

from __future__ import annotations

import io
import os
import pickle
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from seqgan_jax.models import generator
from seqgan_jax.types import Array, LanguageModel, Params

# The original code's order; gates i(nput), f(orget), o(utput), c(ell), each as W x + U h + b.
_NAMES = ("emb", *(f"{kind}{gate}" for gate in "ifoc" for kind in "WUb"), "W_out", "b_out")


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
        bi, Wf, ..., W_out, b_out, or arr_0 ... arr_14 in that order. A pickle is read by an
        unpickler that admits NumPy arrays and nothing else.
      start_token: fed before the first position.

    Returns:
      The oracle.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is of another kind, holds anything but 15 arrays of finite floats whose
        shapes fit together, or would run code.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        raw = file.read()
    if path.endswith(".pkl"):
        arrays = _unpickle(path, raw)
    elif path.endswith(".npz"):
        arrays = _read_npz(path, raw)
    else:
        raise ValueError(f"{path}: an oracle is a .pkl or a .npz file")
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
        raise ValueError(f"{path}: holds {len(arrays)} arrays, an oracle has {len(_NAMES)}")
    result = []
    for name, array in zip(_NAMES, arrays, strict=True):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise ValueError(f"{path}: {name} is no array of floats but {_kind(array)}")
        result.append(array.astype(np.float32))
        if not np.isfinite(result[-1]).all():
            raise ValueError(f"{path}: {name} holds NaN or infinity")
    named = dict(zip(_NAMES, result, strict=True))
    if named["emb"].ndim != 2 or named["bi"].ndim != 1 or not named["emb"].size:
        raise ValueError(
            f"{path}: emb {named['emb'].shape} must be [V, E] and bi {named['bi'].shape} [H]"
        )
    (V, E), (H,) = named["emb"].shape, named["bi"].shape
    wanted = {"W": (E, H), "U": (H, H), "b": (H,)}
    for name, array in named.items():
        shape = {"emb": (V, E), "W_out": (H, V), "b_out": (V,)}.get(name) or wanted[name[0]]
        if array.shape != shape:
            raise ValueError(
                f"{path}: {name} has shape {array.shape}; "
                f"with V={V}, E={E}, H={H} it must be {shape}"
            )
    return result


def _kind(value: Any) -> str:
    return f"{value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__


def _read_npz(path: str, raw: bytes) -> list[Any]:
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            given = set(archive.files)
            numbered = tuple(f"arr_{i}" for i in range(len(_NAMES)))
            for names in (_NAMES, numbered):
                if given == set(names):
                    return [archive[name] for name in names]
    # So can a damaged archive, zlib's errors and a bare .npy among the ways.
    except Exception as error:
        raise ValueError(f"{path}: no readable .npz of plain arrays ({error})") from error
    raise ValueError(f"{path}: holds {sorted(given)}, an oracle has {list(_NAMES)}")


class _PickledDtype:
    """Stands in for `numpy.dtype` in a pickle: an array's code and byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: tuple) -> None:
        self.code = state[1] + self.code  # such as "<" and "f4"


class _PickledArray:
    """Stands in for `numpy.ndarray`, whose constructor reads pointers from a given buffer."""

    value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran_order, contents = state
        # Python 2's byte strings arrive as latin1 text.
        raw = contents.encode("latin1") if isinstance(contents, str) else contents
        self.value = _array(raw, dtype, shape, "F" if fortran_order else "C").value


def _array(raw: Any, dtype: _PickledDtype, shape: tuple, order: Any) -> _PickledArray:
    result = _PickledArray()
    kind = np.dtype(dtype.code)
    if kind.hasobject:
        raise pickle.UnpicklingError("it holds an array of objects")
    result.value = np.frombuffer(raw, kind).reshape(shape, order=order)
    return result


def _empty_array(*_: Any) -> _PickledArray:
    return _PickledArray()


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
    return text.encode("latin1")


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


def _unpickle(path: str, raw: bytes) -> list[Any]:
    try:
        # latin1 carries Python 2's byte strings, the arrays' contents, unchanged.
        value = _ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
    # A damaged pickle can fail in any way: whatever it raises, the file is not an oracle.
    except Exception as error:
        raise ValueError(f"{path}: no readable pickle of arrays ({error})") from error
    if not isinstance(value, list | tuple):
        raise ValueError(f"{path}: holds a {type(value).__name__}, an oracle is a list of arrays")
    return [item.value if isinstance(item, _PickledArray) else item for item in value]
