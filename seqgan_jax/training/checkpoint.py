"""Checkpoints: the training state and where the run was, through Orbax; verified when read."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import itertools
import os
import re
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import jax
import orbax.checkpoint as ocp

from seqgan_jax.atomic import naming, sync_folder
from seqgan_jax.checked import ConfigError
from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import hosts, manifest
from seqgan_jax.training.checkpoint_folder import CheckpointFolder
from seqgan_jax.training.sharding import Layout

FOLDER = "checkpoints"  # of a run
PRETRAINED_FOLDER = "pretrained"  # the state after maximum likelihood
# A name of its own for each folder that is written, the same in every process of a job: TensorStore
# goes by what it remembers of one whose writing has failed.
_attempts = itertools.count()


@dataclasses.dataclass
class Progress:
    """Where a run is; plain values that JSON carries.

    Attributes:
      calls: compiled calls finished, an index into the plan.
      lines: lines of metrics.jsonl that belong to them.
      seconds: time spent so far, over all sittings.
      training_seconds: of these, inside compiled calls: without evaluation and reading.
      work: generator updates, discriminator updates, sequences and tokens drawn to train with.
      origin: what pre-training depends on, see `shared_start`; empty where that has changed.
      pending: metrics of a unit not yet finished, name -> [sum, number of calls].
      digest: SHA-256 of these lines of metrics.jsonl.
      warned: kinds of failure that have been warned of.
    """

    calls: int = 0
    lines: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    work: list[int] = dataclasses.field(default_factory=lambda: [0, 0, 0, 0])
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)
    pending: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    digest: str = ""
    warned: list[str] = dataclasses.field(default_factory=list)


class Checkpoints(CheckpointFolder):
    """The checkpoints of one run, read and written.

    Args of the constructor:
      folder: as of `CheckpointFolder`, and so are `keep_last` and `keep_best`.
      run: which run it is, see `workdir.identity`.
    """

    def __init__(self, folder: str, run: str, keep_last: int = 1, keep_best: int = 0) -> None:
        super().__init__(folder, keep_last, keep_best)
        self._run = run
        self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler())

    def save(self, state: TrainState, progress: Progress, score: float | None = None) -> None:
        """Writes a checkpoint, then deletes those that need no longer be kept.

        Every process of a job calls it; the first one names, verifies and deletes.

        Args:
          state: of the run.
          progress: of the run; a checkpoint of the same calls is replaced.
          score: by which the best are kept, the lowest; None where nothing was measured.

        Raises:
          OSError: it cannot be written; those before it are as they were.
        """
        path, bare = self.path(progress.calls), _without_keys(state)
        partial = f"{path}.partial.{next(_attempts)}"
        try:
            with naming(path):
                if hosts.is_first():
                    os.makedirs(self._folder, exist_ok=True)
                    self._clear()
                self._write(partial, path, bare, progress)
                if not hosts.is_first():
                    return
                manifest.write(partial, bare, self._run, score)
                self._drop(progress.calls)
                os.rename(partial, path)
                sync_folder(self._folder)
                self._keep_few()
        except OSError:
            self._clear()
            raise

    def restore(
        self,
        like: TrainState,
        calls: int,
        layout: Layout | None = None,
        *,
        prng: str = "threefry2x32",
    ) -> tuple[TrainState, Progress]:
        """Reads a checkpoint, whatever devices and hosts it was written from.

        Args:
          like: a state, or its shapes, of the same models and settings.
          calls: which; one that is whole, see `newest`.
          layout: of the devices that it is to lie on; the first device by default.
          prng: the kind of its key.

        Returns:
          The state and the progress.

        Raises:
          ConfigError: it is of another run or model, or cannot be read.
        """
        shapes = jax.eval_shape(_without_keys, like)
        self._check_origin(calls, manifest.arrays_of(shapes))
        places = None if layout is None else layout.shardings(shapes)
        if places is None:
            here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            places = jax.tree.map(lambda leaf: here, shapes)
        target = jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            shapes, places,
        )  # fmt: skip
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(target), progress=ocp.args.JsonRestore()
        )
        try:
            restored = self._checkpointer.restore(self.path(calls), args=args)
            progress = Progress(**restored["progress"])
            if progress.calls != calls:
                raise ValueError(f"it says that it is of {progress.calls} calls")
        except (ValueError, TypeError, KeyError) as error:  # as written, but not by this program
            words = str(error).partition("\n")[0]
            raise ConfigError(f"{self.path(calls)}: cannot be read ({words})") from error
        key = jax.random.wrap_key_data(restored["state"].key, impl=prng)
        return dataclasses.replace(restored["state"], key=key), progress

    def _write(self, partial: str, path: str, bare: Any, progress: Progress) -> None:
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(bare),
            progress=ocp.args.JsonSave(dataclasses.asdict(progress)),
        )
        before, running = sys.unraisablehook, set(threading.enumerate())
        sys.unraisablehook = _all_but_late_writes(before)
        try:
            self._checkpointer.save(partial, args=args)
            sys.unraisablehook = before  # else it stays: some writes may end later
            return
        except (OSError, ValueError) as error:
            number = _systems_error(error)
            if number is None:
                raise
        for thread in set(threading.enumerate()) - running:  # which begin the other writes
            thread.join(timeout=1.0)
        _close_writes()
        raise OSError(number, os.strerror(number), path)

    def _check_origin(self, calls: int, expected: dict[str, str]) -> None:
        noted = manifest.read(self.path(calls))
        there = noted.arrays
        for name in expected | there:
            one, other = there.get(name, "absent"), expected.get(name, "absent")
            if one != other:
                raise ConfigError(
                    f"{self.path(calls)}: is of another model: {name} is {one} there, {other} in "
                    "that of config.json; give back the one that belongs to this run, or begin "
                    "anew in another --workdir"
                )
        if noted.run != self._run:
            raise ConfigError(
                f"{self.path(calls)}: is of another run, of another seed or config; remove it, "
                "give back the one that belongs here, or begin anew in another --workdir"
            )

    def close(self) -> None:
        """Frees what reading and writing need."""
        self._checkpointer.close()


def _systems_error(error: OSError | ValueError) -> int | None:
    """The number of the system's error; TensorStore names it within the words of its own."""
    if isinstance(error, OSError):
        return error.errno
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return None if code is None else int(code[1])


def _close_writes() -> None:
    """Those that have not begun, which Python would warn of whenever the last name of them goes."""
    routines = [one for one in gc.get_objects() if type(one) is types.CoroutineType]
    for write in [one for one in routines if one.__name__ == "write_fragment"]:
        if inspect.getcoroutinestate(write) == inspect.CORO_CREATED:
            write.close()
    gc.collect()  # what the others hold, here rather than at any time


def _all_but_late_writes(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Where one write has failed the others go on, and miss the loop that waited for them."""

    def heed(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            hook(unraisable)

    return heed


def _without_keys(state: TrainState) -> Any:
    """The state with its typed key as plain bits, which is what a file can hold."""
    return dataclasses.replace(state, key=jax.random.key_data(state.key))
