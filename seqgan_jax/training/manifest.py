"""What a checkpoint's folder must hold, so that a torn or damaged one is never taken for whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any

import jax

from seqgan_jax.atomic import sync_folder, write_json
from seqgan_jax.checked import ConfigError, DataError, shown
from seqgan_jax.files import is_finite, parse_json, read_file
from seqgan_jax.version import __version__

FILE = "manifest.json"
# 1 had no manifest. Raised whenever an older program would read a checkpoint wrongly, or this one
# an older checkpoint.
FORMAT = 2
_READ_AT_ONCE = 1 << 20
_MAX_BYTES = 10_000_000  # some fifty thousand arrays and files


class DamagedError(Exception):
    """A checkpoint is not as it was written; says which file."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What is noted of a checkpoint.

    Attributes:
      arrays: path in the state -> type and shape, such as `float32[32,4]`.
      files: path in the folder -> SHA-256.
      run: which it is of, see `workdir.identity`.
      score: by which the best are kept; None where it was not measured.
    """

    arrays: dict[str, str]
    files: dict[str, str]
    run: str
    score: float | None


def arrays_of(state: Any) -> dict[str, str]:
    """Path -> type and shape, of a state or of its shapes."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        )
        for path, leaf in leaves
    }


def write(folder: str, state: Any, run: str, score: float | None) -> None:
    """Writes the manifest of a folder that holds a checkpoint's other files, all on the disk then.

    Raises:
      OSError: as of reading and writing files.
    """
    content = {
        "format": FORMAT,
        "seqgan_jax": __version__,
        "run": run,
        "score": score,
        "arrays": arrays_of(state),
        "files": {name: _digest(os.path.join(folder, name), sync=True) for name in _files(folder)},
    }
    write_json(os.path.join(folder, FILE), content | {"sha256": _of_content(content)})
    for inner, _, _ in os.walk(folder, topdown=False):
        sync_folder(inner)


def read(folder: str) -> Manifest:
    """Reads the manifest of a checkpoint; its files are not looked at.

    Raises:
      ConfigError: the checkpoint is of another format.
      DamagedError: the manifest is missing or not as it was written.
    """
    path = os.path.join(folder, FILE)
    if not os.path.lexists(path):
        raise DamagedError(
            f"{FILE} is missing (checkpoints of format 1, before there were manifests, have none)"
        )
    try:
        content = parse_json(path, read_file(path, _MAX_BYTES))
        signed = isinstance(content, dict) and content.pop("sha256", None) == _of_content(content)
    except (DataError, ValueError, RecursionError) as error:
        raise DamagedError(f"{FILE} is damaged") from error
    if not signed:
        raise DamagedError(f"{FILE} is damaged")
    if content.get("format") != FORMAT:
        raise ConfigError(
            f"{folder}: a checkpoint of format {shown(content.get('format'))}, written by "
            f"seqgan_jax {shown(content.get('seqgan_jax'))}; this is {__version__}, which reads "
            f"format {FORMAT}: go on with that version, or begin anew in another --workdir"
        )
    arrays: Any = content.get("arrays")
    files: Any = content.get("files")
    run, score = content.get("run"), content.get("score")
    if not (_is_of_words(arrays) and _is_of_words(files) and isinstance(run, str)):
        raise DamagedError(f"{FILE} is damaged")
    if not all(map(_is_within, files)) or not (score is None or is_finite(score)):
        raise DamagedError(f"{FILE} is damaged")
    return Manifest(arrays, files, run, score)


def _is_of_words(value: Any) -> bool:
    """Whether a value is a mapping of words to words, with something in it."""
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(word, str) for word in value.values())


def _is_within(name: str) -> bool:
    """Whether a file's name does not lead out of its folder."""
    return "\0" not in name and not os.path.isabs(name) and ".." not in name.split(os.sep)


def verify(folder: str) -> None:
    """Compares a checkpoint's files with its manifest.

    Raises:
      ConfigError: the checkpoint is of another format.
      DamagedError: a file is missing or not as it was written.
    """
    for name, digest in read(folder).files.items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            raise DamagedError(f"{name} is missing")
        try:
            found = _digest(path)
        except OSError as error:
            raise DamagedError(f"{name}: {error.strerror}") from error
        if found != digest:
            raise DamagedError(f"{name} is not as it was written")


def _files(folder: str) -> list[str]:
    found = [
        os.path.relpath(os.path.join(inner, name), folder)
        for inner, _, names in os.walk(folder)
        for name in names
    ]
    return sorted(set(found) - {FILE})


def _digest(path: str, sync: bool = False) -> str:
    """Of a file, which is brought to the disk first if asked: Orbax does so with some of them."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if sync:
            os.fsync(file.fileno())
        while block := file.read(_READ_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def _of_content(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
