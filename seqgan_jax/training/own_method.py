"""Finds a method by its name: of the package, or of a user's own file."""

from __future__ import annotations

import importlib.util
import os
import sys

from seqgan_jax.checked import ConfigError
from seqgan_jax.methods.registry import METHODS, Maker

DEFAULT_NAME = "method"


def find(name: str) -> Maker:
    """The function that makes a method.

    Args:
      name: a key of `METHODS`; or `PATH.py:FUNCTION`, or `PATH.py` for its function `method`. The
        function takes a language model, a classifier, `TrainingHParams` and the training
        sequences, and returns a `Method`.

    Raises:
      ConfigError: no such file, it fails when it is run, or has no such function.
    """
    if name in METHODS:
        return METHODS[name]
    path, _, function = name.partition(":")
    function = function or DEFAULT_NAME
    if not os.path.isfile(path):
        raise ConfigError(f"config.method={name}: no file {path}")
    module_name = "seqgan_jax_own_" + os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"config.method={name}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses, for one, look for it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(
            f"config.method={name}: {path} fails when it is run, {type(error).__name__}: {error}"
        ) from error
    maker: Maker | None = getattr(module, function, None)
    if not callable(maker):
        raise ConfigError(
            f"config.method={name}: {path} has no function {function}; give {path}:FUNCTION"
        )
    return maker
