"""What a checkpoint's folder must hold, so that a torn or damaged one is never taken for whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any

import jax

from seqgan_jax.atomic import write_json
from seqgan_jax.checked import ConfigError
from seqgan_jax.version import __version__

FILE = "manifest.json"
# 1 had no manifest. Raised whenever an older program would read a checkpoint wrongly, or this one
# an older checkpoint.
FORMAT = 2
_READ_AT_ONCE = 1 << 20


class DamagedError(Exception):
    """A checkpoint is not as it was written; says which file."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What is noted of a checkpoint.

    Attributes:
      arrays: path in the state -> type and shape, such as `float32[32,4]`.
      files: path in the folder -> SHA-256.
      score: by which the best are kept; None where it was not measured.
    """

    arrays: dict[str, str]
    files: dict[str, str]
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


def write(folder: str, state: Any, score: float | None) -> None:
    """Writes the manifest of a folder that holds a checkpoint's other files.

    Raises:
      OSError: as of reading and writing files.
    """
    content = {
        "format": FORMAT,
        "seqgan_jax": __version__,
        "score": score,
        "arrays": arrays_of(state),
        "files": {name: _digest(os.path.join(folder, name)) for name in _files(folder)},
    }
    write_json(os.path.join(folder, FILE), content | {"sha256": _of_content(content)})


def read(folder: str) -> Manifest:
    """Reads the manifest of a checkpoint; its files are not looked at.

    Raises:
      ConfigError: the checkpoint is of another format.
      DamagedError: the manifest is missing or not as it was written.
    """
    try:
        with open(os.path.join(folder, FILE), encoding="utf-8") as file:
            content = json.load(file)
        digest = content.pop("sha256")
        found = content["format"]
    except FileNotFoundError:
        raise DamagedError(
            f"{FILE} is missing (checkpoints of format 1, before there were manifests, have none)"
        ) from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedError(f"{FILE} is damaged ({type(error).__name__})") from error
    if digest != _of_content(content):
        raise DamagedError(f"{FILE} is damaged")
    if found != FORMAT:
        raise ConfigError(
            f"{folder}: a checkpoint of format {found}, written by seqgan_jax "
            f"{content.get('seqgan_jax')}; this is {__version__}, which reads format {FORMAT}: go "
            "on with that version, or begin anew in another --workdir"
        )
    return Manifest(content["arrays"], content["files"], content["score"])


def verify(folder: str) -> None:
    """Compares a checkpoint's files with its manifest.

    Raises:
      ConfigError: the checkpoint is of another format.
      DamagedError: a file is missing or not as it was written.
    """
    for name, digest in read(folder).files.items():
        try:
            found = _digest(os.path.join(folder, name))
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


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def _of_content(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
