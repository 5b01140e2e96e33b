"""What the programs in bin/ share: flags, the compilation cache, errors as one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import jax
import rich.console
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from seqgan_jax.hparams import ConfigError, HParams, from_mapping


def run(main: Callable[[], None]) -> None:
    """Parses the flags, runs `main`, and turns the user's errors into one sentence and exit 2."""

    def parse(arguments: Sequence[str]) -> list[str]:
        try:
            rest = flags.FLAGS(arguments)
        # A config flag raises KeyError or AttributeError for an unknown field, TypeError or
        # ValueError for a value of another type, and whatever a config file itself raises.
        except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
            fail(str(error.args[0]) if error.args else str(error))
        if len(rest) > 1:
            fail(f"unknown arguments: {' '.join(rest[1:])}; flags look like --name=value")
        return rest

    def guarded(_: Sequence[str]) -> None:
        logging.set_verbosity(logging.WARNING)
        use_compilation_cache()
        try:
            main()
        except ConfigError as error:
            fail(str(error))

    app.run(guarded, flags_parser=parse)


def fail(message: str) -> None:
    """Writes the error and ends the program with exit status 2."""
    sys.stderr.write(f"error: {message}\n")
    sys.exit(2)


def define_config() -> None:
    """Defines --config, which has no default, with its fields as flags of their own."""
    config_flags.DEFINE_config_file(
        "config", None, "Experiment, such as configs/oracle.py or configs/oracle.py:smoke.",
        lock_config=True,
    )  # fmt: skip
    flags.mark_flag_as_required("config")


def read_config() -> HParams:
    """The experiment that --config and its field flags describe.

    Raises:
      ConfigError: a field's value is wrong.
    """
    config: ConfigDict = flags.FLAGS.config
    return from_mapping(HParams, config.to_dict())


def default_workdir() -> str:
    """runs/<config>-<variant>, from the value of --config."""
    path, _, variant = flags.FLAGS["config"].config_filename.partition(":")
    name = os.path.splitext(os.path.basename(path))[0]
    return os.path.join("runs", f"{name}-{variant or 'default'}")


def console() -> rich.console.Console:
    """Standard output: coloured and narrow on a terminal, unwrapped lines elsewhere."""
    if sys.stdout.isatty():
        return rich.console.Console()
    return rich.console.Console(width=200, soft_wrap=True)


def use_compilation_cache() -> None:
    """Keeps compiled programs under the user's cache folder, unless JAX is told where."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(cache, "seqgan_jax"))
