"""Encoded data kept with a run, so that it need not be read again, nor its files be there."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from seqgan_jax.atomic import write_atomically
from seqgan_jax.checked import DataError
from seqgan_jax.data.codecs import codec_from_json
from seqgan_jax.data.corpus import padded
from seqgan_jax.data.dataset import Codec, Dataset
from seqgan_jax.files import briefly, check_npz, open_file, parse_json, read_file
from seqgan_jax.types import Sequences

DATA_FILE, VOCABULARY_FILE = "data.npz", "vocabulary.json"
_FORMAT = 2  # of the files and of how text becomes ids; another number makes old caches void
_BLOCK = 1 << 20
_MAX_VOCABULARY_BYTES = 30_000_000  # two million words
# A list, or an object, takes up to 240 bytes of memory; a vocabulary has few, and some in words.
_MAX_BRACKETS = 1_000_000
_MAX_NOTES_BYTES = 1_000_000


def content_key(sides: list[list[str]], settings: Any) -> str:
    """Names the data that files and settings give, wherever the files lie.

    Args:
      sides: the files at each of the settings' paths, in the order of their use; which of them a
        file belongs to counts.
      settings: a dataclass; its fields `path` and `..._path` do not count.

    Returns:
      64 hexadecimal digits, SHA-256.

    Raises:
      DataError: a file cannot be read.
    """
    fields = {
        name: value
        for name, value in dataclasses.asdict(settings).items()
        if name != "path" and not name.endswith("_path")
    }
    digests = [[_file_digest(path) for path in paths] for paths in sides]
    return _digest(json.dumps([_FORMAT, fields, digests], sort_keys=True).encode())


def load_or_read(folder: str | None, key: str, read: Callable[[], Dataset]) -> Dataset:
    """The data kept in a folder, if it is what the key names; else reads it and keeps it there.

    Args:
      folder: where `data.npz` and `vocabulary.json` lie or will lie; None keeps nothing.
      key: from `content_key`.
      read: gives the data where the folder does not.

    Returns:
      The data.

    Raises:
      DataError: from `read`; or the folder cannot be written.
    """
    if folder is None:
        return read()
    try:
        kept_key, dataset = read_cache(folder)
        if kept_key == key:
            return dataset
    except DataError:
        pass  # missing or damaged: what is written below takes its place
    dataset = read()
    try:
        os.makedirs(folder, exist_ok=True)
        _write_cache(folder, key, dataset)
    except OSError as error:
        raise DataError(f"{folder}: the data cannot be kept there ({error})") from None
    return dataset


def read_cache(folder: str) -> tuple[str, Dataset]:
    """Reads the data kept in a folder.

    Returns:
      The key under which it was kept, and the data.

    Raises:
      DataError: nothing is kept there, or it is damaged.
    """
    vocabulary_path = os.path.join(folder, VOCABULARY_FILE)
    data_path = os.path.join(folder, DATA_FILE)
    raw = read_file(vocabulary_path, _MAX_VOCABULARY_BYTES)
    if raw.count(b"[") + raw.count(b"{") > _MAX_BRACKETS:
        raise DataError(f"{vocabulary_path}: damaged (more than {_MAX_BRACKETS:,} brackets)")
    values = parse_json(vocabulary_path, raw)
    try:
        codec = codec_from_json(values)
    except DataError as error:
        raise DataError(f"{vocabulary_path}: damaged ({error})") from None
    try:
        with open_file(data_path) as file:
            # What was written is stored as it is: arrays larger than the file are none of ours.
            check_npz(file, os.fstat(file.fileno()).st_size)
            with np.load(file, allow_pickle=False) as arrays:
                return _unpacked(dict(arrays), codec, _digest(raw))
    # A damaged archive can fail in any way: whatever it raises, it is not the data.
    except Exception as error:
        raise DataError(
            f"{data_path}: damaged ({briefly(error)}); delete it and start again from the "
            "source files"
        ) from None


def _unpacked(
    arrays: dict[str, np.ndarray], codec: Codec, codec_digest: str
) -> tuple[str, Dataset]:
    """Checks all that was read before anything is made of it."""
    if _text(arrays["codec"]) != codec_digest:
        raise DataError(f"it belongs to another {VOCABULARY_FILE}")
    if arrays["notes"].size > _MAX_NOTES_BYTES:
        raise DataError(f"notes of more than {_MAX_NOTES_BYTES:,} bytes")
    length, notes = arrays["length"], json.loads(_text(arrays["notes"]))
    longest = max(arrays[f"{name}_lengths"].max(initial=0) for name in ("train", "test"))
    if length.shape != () or length.dtype.kind != "i" or length < 1 or length != longest:
        raise DataError(f"length must be that of the longest sequence, {longest}")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise DataError("notes must be sentences")
    train, test = (
        _unpacked_part(arrays[f"{name}_ids"], arrays[f"{name}_lengths"], int(length), codec)
        for name in ("train", "test")
    )
    return _text(arrays["key"]), Dataset(train, test, codec, tuple(notes))


def _unpacked_part(ids: np.ndarray, lengths: np.ndarray, length: int, codec: Codec) -> Sequences:
    for array in (ids, lengths):
        if array.ndim != 1 or array.dtype.kind != "u" or not array.size:
            raise DataError("ids and lengths must be rows of numbers, not empty")
    if lengths.min() < 1 or lengths.max() > length or lengths.sum(dtype=np.uint64) != ids.size:
        raise DataError("the lengths do not fit the ids")
    if ids.max() >= codec.vocab_size:
        raise DataError(f"id {ids.max()} must be below the vocabulary's {codec.vocab_size}")
    return padded(ids, lengths, length, codec.pad_token)


def _packed_part(name: str, part: Sequences, codec: Codec) -> dict[str, np.ndarray]:
    ids, lengths = part.tokens[part.mask], part.mask.sum(axis=1)
    rebuilt = padded(ids, lengths, part.mask.shape[1], codec.pad_token)
    if not all(map(np.array_equal, rebuilt, part)):
        raise ValueError(f"{name}: only padding may stand outside the mask, behind what is real")
    return {f"{name}_ids": _smallest(ids), f"{name}_lengths": _smallest(lengths)}


def _smallest(numbers: np.ndarray) -> np.ndarray:
    """The same numbers in the narrowest unsigned type that holds them."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


def _write_cache(folder: str, key: str, dataset: Dataset) -> None:
    vocabulary = json.dumps(dataset.codec.to_json(), ensure_ascii=False).encode()
    brackets = vocabulary.count(b"[") + vocabulary.count(b"{")
    if len(vocabulary) > _MAX_VOCABULARY_BYTES or brackets > _MAX_BRACKETS:
        raise DataError(
            f"a vocabulary of {dataset.codec.vocab_size:,} tokens makes {len(vocabulary):,} bytes, "
            f"with {brackets:,} brackets: must be at most {_MAX_VOCABULARY_BYTES:,} and "
            f"{_MAX_BRACKETS:,}; give a smaller data.max_size"
        )
    archive = io.BytesIO()
    arrays: dict[str, Any] = {
        "key": _bytes(key),
        "codec": _bytes(_digest(vocabulary)),
        "length": np.array(dataset.train.tokens.shape[1]),
        "notes": _bytes(json.dumps(dataset.notes)),
        **_packed_part("train", dataset.train, dataset.codec),
        **_packed_part("test", dataset.test, dataset.codec),
    }
    np.savez(archive, **arrays)
    # The data names its vocabulary by digest: an end between the two leaves a damaged cache.
    write_atomically(os.path.join(folder, VOCABULARY_FILE), vocabulary)
    write_atomically(os.path.join(folder, DATA_FILE), archive.getbuffer())


def _bytes(text: str) -> np.ndarray:
    """Text as an array that needs no pickle."""
    return np.frombuffer(text.encode(), np.uint8)


def _text(array: np.ndarray) -> str:
    return array.astype(np.uint8, casting="no").tobytes().decode()


def _digest(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()


def _file_digest(path: str) -> str:
    digest = hashlib.sha256()
    with open_file(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
