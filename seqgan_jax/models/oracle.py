"""The oracle: a fixed LSTM, the real data's distribution (arXiv 1609.05473, section 5.1)."""

from __future__ import annotations

import io
import os
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from seqgan_jax.checked import DataError
from seqgan_jax.files import briefly, check_npz, read_file
from seqgan_jax.models import generator
from seqgan_jax.models.pickled import load_arrays
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
        raise DataError(f"{path}: no readable .npz of plain arrays ({briefly(error)})") from error
    listed = ", ".join(sorted(given)[: len(_NAMES) + 1])[:200]
    raise DataError(f"{path}: holds {listed}; an oracle has {', '.join(_NAMES)}")


def _unpickle(path: str, raw: bytes) -> list[Any]:
    try:
        return load_arrays(raw, MAX_BYTES)
    # A damaged pickle can fail in any way: whatever it raises, the file is not an oracle.
    except Exception as error:
        raise DataError(f"{path}: no readable pickle of arrays ({briefly(error)})") from error
