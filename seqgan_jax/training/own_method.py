"""Finds a method by its name: of the package, or of a user's own file."""

from __future__ import annotations

import filecmp
import os
import sys
import types

from seqgan_jax.atomic import write_atomically
from seqgan_jax.checked import ConfigError
from seqgan_jax.files import read_file
from seqgan_jax.methods.registry import METHODS, Maker

DEFAULT_NAME = "method"
KEPT_FILE = "method.py"  # a run's copy
_MAX_BYTES = 10_000_000


def find(name: str, folder: str = "") -> Maker:
    """The function that makes a method.

    Args:
      name: a key of `METHODS`; or `PATH.py:FUNCTION`, or `PATH.py` for its function `method`. The
        function takes a language model, a classifier, `TrainingHParams` and the training
        sequences, and returns a `Method`.
      folder: of a run; its copy of the file, if it keeps one, is used in place of the file.

    Raises:
      ConfigError: no such file, it fails when it is run, or has no such function.
    """
    if name in METHODS:
        return METHODS[name]
    path, _, function = name.partition(":")
    kept = os.path.join(folder, KEPT_FILE)
    if folder and os.path.isfile(kept):
        path = kept
    function = function or DEFAULT_NAME
    if not os.path.isfile(path):
        raise ConfigError(f"config.method={name}: no file {path}")
    module_name = "seqgan_jax_own_" + os.path.splitext(os.path.basename(path))[0]
    module = types.ModuleType(module_name)
    module.__file__ = path
    sys.modules[module_name] = module  # where dataclasses, for one, look for it
    try:
        # Not by a loader, which reads what is compiled beside the file, or writes it there.
        exec(compile(read_file(path, _MAX_BYTES), path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"config.method={name}: {path} fails when it is run, {type(error).__name__}: {error}"
        ) from error
    maker: Maker | None = getattr(module, function, None)
    if not callable(maker):
        raise ConfigError(
            f"config.method={name}: {path} has no function {function}; give {path}:FUNCTION"
        )
    return maker


def keep(name: str, folder: str) -> None:
    """Keeps a copy of a user's own file in the folder of a run, for the run to go on with.

    Raises:
      ConfigError: the file is no longer what the run in the folder began with.
    """
    if name in METHODS:
        return
    path, kept = name.partition(":")[0], os.path.join(folder, KEPT_FILE)
    if not os.path.exists(kept):
        with open(path, "rb") as file:
            write_atomically(kept, file.read())
    elif os.path.isfile(path) and not filecmp.cmp(path, kept, shallow=False):
        raise ConfigError(
            f"config.method={name}: {path} has changed since the run in {folder} began; give what "
            f"is kept there, {kept}, or another folder"
        )
