"""What the programs in bin/ share: flags, the compilation cache, errors as one sentence."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import IO, NoReturn, cast

import jax
import rich.console
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from seqgan_jax.checked import ConfigError, UserError, from_mapping
from seqgan_jax.hparams import HParams
from seqgan_jax.training import hosts
from seqgan_jax.training.divergence import DivergedError
from seqgan_jax.training.standard_output import Patient, say
from seqgan_jax.training.stopping import Stopped


def run(main: Callable[..., None], *, positional: bool = False) -> None:
    """Parses the flags, runs `main`, and turns the user's errors into one sentence and exit 2.

    Args:
      main: called without arguments.
      positional: call it with the list of what is no flag; by default such words are an error.
    """

    def parse(arguments: Sequence[str]) -> list[str]:
        _check_config(arguments)
        try:
            rest = flags.FLAGS(arguments)
        # Besides flags.Error, a config flag raises KeyError or AttributeError for an unknown field,
        # TypeError or ValueError for a value of another type.
        except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
            fail(_flag_error(arguments, error))
        except (SyntaxError, NameError, OSError) as error:  # of a file that is no config
            fail(f"--config: {error}; must be a Python file with get_config, as in configs/")
        if len(rest) > 1 and not positional:
            fail(f"unknown arguments: {' '.join(rest[1:])}; flags look like --name=value")
        return rest

    def guarded(arguments: Sequence[str]) -> None:
        # Orbax warns of settings that are meant, and shows at length what it then raises.
        logging.set_verbosity(logging.FATAL)
        signal.signal(signal.SIGTERM, _terminate)
        use_compilation_cache()
        try:
            if "coordinator_address" in flags.FLAGS:
                given = flags.FLAGS
                hosts.join(
                    hosts.Address(given.coordinator_address, given.num_processes, given.process_id)
                )
            main(*([list(arguments[1:])] if positional else []))
        except Exception as error:
            if not _is_explained(error):
                raise
        except KeyboardInterrupt as error:
            words = "interrupted; the same command resumes from the newest checkpoint, if any"
            say(str(error) if error.args else words)
            # An interpreter that ends in the midst of a compilation crashes.
            _end_at_once(128 + getattr(error, "signum", signal.SIGINT))

    jax.config.config_with_absl()  # its settings as flags, such as --jax_debug_nans
    app.run(guarded, flags_parser=parse)


def _is_explained(error: Exception) -> bool:
    """Ends the program with one sentence, where one can be given of the error."""
    if isinstance(error, UserError):
        fail(str(error))
    if isinstance(error, DivergedError):
        fail(str(error), status=1)
    if isinstance(error, OSError):
        name = error.filename or "a file, or standard output"
        fail(
            f"{name}: {error.strerror or error}; what was saved before is whole: the same command "
            "goes on from there, once there is room, or leave to write",
            status=1,
        )
    if not hosts.joined():
        return False
    if _is_of_the_job(error):
        fail(
            "another process of this job has ended, or cannot be reached; the same command in "
            "every process resumes from the newest checkpoint "
            f"({str(error).splitlines()[0]})",
            status=1,
        )
    traceback.print_exc()
    _end_at_once(1)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM as SIGINT, where nothing is being trained that could be saved."""
    del frame
    raise Stopped(signum, "terminated; the same command resumes from the newest checkpoint, if any")


def _check_config(arguments: Sequence[str]) -> None:
    """Ends the program where --config is a pipe or a device: it is run once its flag is read."""
    for word, following in itertools.pairwise([*arguments, ""]):
        name, equals, value = word.partition("=")
        path = (value if equals else following).partition(":")[0]
        if name in ("--config", "-config") and os.path.exists(path) > os.path.isfile(path):
            fail(f"--config={path}: is no regular file")


def _flag_error(arguments: Sequence[str], error: Exception) -> str:
    """One sentence that names the flag at fault."""
    message = str(error.args[0] if error.args else error).strip()
    unknown = re.match(r"\W*(\w+)", message)
    if isinstance(error, AttributeError | KeyError) and unknown:
        given = [word for word in arguments if f".{unknown[1]}" in word.partition("=")[0]]
        meant = re.search(r'Did you mean "(\w+)"', message)
        hint = f"did you mean {meant[1]}?" if meant else "see the config file for those there are"
        return f"{given[0] if given else unknown[1]}: no such field; {hint}"
    missing = re.match(r"flag --(\w+)=None: ", message)
    if missing:
        return f"--{missing[1]} is missing; --help tells what it is"
    if "Traceback" in message:  # a config file's own error; its last line says what is wrong
        message = message.splitlines()[-1].partition(": ")[2]
    return message


def fail(message: str, status: int = 2) -> NoReturn:
    """Writes the error and ends the program."""
    say(f"error: {message}")
    if hosts.joined():
        # JAX would wait for the other processes, and they for this one.
        _end_at_once(status)
    sys.exit(status)


def _end_at_once(status: int) -> NoReturn:
    """Ends the program without what Python does at its end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _is_of_the_job(error: Exception) -> bool:
    """Whether the error is that of a collective whose other side has gone."""
    if not isinstance(error, jax.errors.JaxRuntimeError | ValueError):
        return False
    words = ("gloo", "nccl", "coordination", "heartbeat", "unavailable", "deadline", "barrier")
    return any(word in str(error).lower() for word in words)


def define_config(default: str | None = None) -> None:
    """Defines --config, with its fields as flags of their own; required without a default."""
    config_flags.DEFINE_config_file(
        "config", default, "Experiment, such as configs/oracle.py or configs/oracle.py:smoke.",
        lock_config=True,
    )  # fmt: skip
    if default is None:
        flags.mark_flag_as_required("config")


def define_hosts() -> None:
    """Defines the flags of a job of several processes."""
    flags.DEFINE_string(
        "coordinator_address", None, "HOST:PORT of process 0, where JAX cannot find it by itself."
    )
    flags.DEFINE_integer("num_processes", None, "Processes of this job, with the address.")
    flags.DEFINE_integer("process_id", None, "Which of them this is, from 0, with the address.")


def read_config() -> HParams:
    """The experiment that --config and its field flags describe.

    Raises:
      ConfigError: no such file, or a field's value is wrong.
    """
    path = _config_path()
    if not os.path.isfile(path):
        raise ConfigError(f"--config={path}: no such file")
    config: ConfigDict = flags.FLAGS.config
    return from_mapping(HParams, config.to_dict())


def config_arguments() -> list[str]:
    """The command line's --config and the flags of its fields, to be handed to another program."""
    given = [word for word in sys.argv[1:] if word.startswith(("--config.", "-config."))]
    return [f"--config={config_flags.get_config_filename(flags.FLAGS['config'])}", *given]


def _config_path() -> str:
    return config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")[0]


def default_workdir() -> str:
    """runs/<config>-<variant>, from the value of --config."""
    _, _, variant = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
    name = os.path.splitext(os.path.basename(_config_path()))[0]
    return os.path.join("runs", f"{name}-{variant or 'default'}")


def console() -> rich.console.Console:
    """Standard output: coloured and narrow on a terminal, unwrapped lines elsewhere.

    Of several processes the first speaks.
    """
    if hosts.joined() and not hosts.is_first():
        return rich.console.Console(quiet=True)
    # Names of files and methods may hold brackets, which are no markup.
    if sys.stdout.isatty():
        return rich.console.Console(markup=False, emoji=False)
    return rich.console.Console(
        file=cast(IO[str], Patient(sys.stdout)),
        width=200,
        soft_wrap=True,
        markup=False,
        emoji=False,
    )


def use_compilation_cache() -> None:
    """Keeps compiled programs under the user's cache folder, unless JAX is told where."""
    name, given = "jax_compilation_cache_dir", flags.FLAGS
    if not (os.environ.get(name.upper()) or (name in given and given[name].present)):
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        jax.config.update(name, os.path.join(cache, "seqgan_jax"))
    # Small programs too: a run has dozens, and by default only what compiles for a second is kept.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
