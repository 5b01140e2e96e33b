"""Checkpoints: the training state and where the run was, through Orbax; verified when read."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp

from seqgan_jax.atomic import naming, sync_folder
from seqgan_jax.checked import ConfigError
from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import hosts, manifest
from seqgan_jax.training.sharding import Layout

FOLDER = "checkpoints"  # of a run
PRETRAINED_FOLDER = "pretrained"  # the state after maximum likelihood

_COMPLETE = re.compile(r"\d+")
_UNFINISHED = re.compile(r"\d+\.(partial|dropped)(\..*)?")  # being written, or deleted
_DAMAGED = ".damaged"


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
    """

    calls: int = 0
    lines: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    work: list[int] = dataclasses.field(default_factory=lambda: [0, 0, 0, 0])
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)
    pending: dict[str, list[float]] = dataclasses.field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run, each a folder named by the calls finished then.

    A folder of that name is complete: it was written under another and renamed, with a manifest of
    its files. Whether they are still as written is seen when they are read.

    Args of the constructor:
      folder: that holds them; made when the first is saved.
      keep_last: how many of the newest stay.
      keep_best: how many of those with the lowest score stay beside them.
    """

    def __init__(self, folder: str, keep_last: int = 1, keep_best: int = 0) -> None:
        self._folder = os.path.abspath(folder)
        self._keep_last, self._keep_best = keep_last, keep_best
        self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler())

    def path(self, calls: int) -> str:
        """The folder of a checkpoint."""
        return os.path.join(self._folder, str(calls))

    def steps(self) -> list[int]:
        """Numbers of calls finished at the checkpoints that there are, ascending."""
        names = os.listdir(self._folder) if os.path.isdir(self._folder) else []
        return sorted(int(name) for name in names if _COMPLETE.fullmatch(name))

    def damage(self, calls: int) -> str | None:
        """What is wrong with a checkpoint's files; None where they are as they were written.

        Raises:
          ConfigError: it is of another format.
        """
        try:
            manifest.verify(self.path(calls))
        except manifest.DamagedError as error:
            return f"{self.path(calls)}: {error}"
        return None

    def newest(self, tell: Callable[[str], None]) -> int | None:
        """Calls finished at the newest checkpoint that is whole; None where there are none.

        Args:
          tell: says of each newer one what is wrong with it.

        Raises:
          ConfigError: there are some and none is whole, or one is of another format.
        """
        found = []
        for calls in reversed(self.steps()):
            damage = self.damage(calls)
            if damage is None:
                return calls
            tell(f"warning: {damage}; going back to the checkpoint before it")
            found.append(damage)
        if found:
            raise ConfigError(none_is_whole(found))
        return None

    def best(self) -> int | None:
        """Calls finished at the checkpoint of the lowest score; None where none has a score."""
        scores = self._scores()
        return min(scores, key=lambda calls: (scores[calls], calls)) if scores else None

    def is_among_best(self, score: float) -> bool:
        """Whether a state of this score would be kept for it."""
        scores = sorted(self._scores().values())
        return len(scores) < self._keep_best or score < max(
            scores[: self._keep_best], default=score
        )

    def _scores(self) -> dict[int, float]:
        scores = {}
        for calls in self.steps():
            try:
                score = manifest.read(self.path(calls)).score
            except (manifest.DamagedError, ConfigError):
                continue
            if score is not None:
                scores[calls] = score
        return scores

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
        partial = f"{path}.partial"
        try:
            with naming(path):
                if hosts.is_first():
                    os.makedirs(self._folder, exist_ok=True)
                    self._clear()
                with _systems_errors(path):
                    self._checkpointer.save(
                        partial,
                        args=ocp.args.Composite(
                            state=ocp.args.StandardSave(bare),
                            progress=ocp.args.JsonSave(dataclasses.asdict(progress)),
                        ),
                    )
                if not hosts.is_first():
                    return
                manifest.write(partial, bare, score)
                self._drop(progress.calls)
                os.rename(partial, path)
                sync_folder(self._folder)
                self._keep_few()
        except OSError:
            self._clear(suppress=True)
            raise

    def _keep_few(self) -> None:
        steps, scores = self.steps(), self._scores()
        best = sorted(scores, key=lambda calls: (scores[calls], calls))[: self._keep_best]
        for calls in set(steps) - set(steps[-self._keep_last :]) - set(best):
            self._drop(calls)

    def drop_after(self, calls: int) -> None:
        """Deletes the checkpoints of later calls, made again, and what a kill has left."""
        self._clear()
        for step in self.steps():
            if step > calls:
                self._drop(step)

    def set_aside(self, calls: int) -> None:
        """Renames a damaged checkpoint, so that it is none; it is left for who wants to look."""
        aside = self.path(calls) + _DAMAGED
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(self.path(calls), aside)

    def _drop(self, calls: int) -> None:
        """Deletes a checkpoint, by a name under which a half deleted one is none."""
        path = self.path(calls)
        if os.path.lexists(path):
            os.rename(path, f"{path}.dropped")
            _delete(f"{path}.dropped")

    def _clear(self, suppress: bool = False) -> None:
        """Deletes what a kill, or a full disk, has left half written or half deleted."""
        try:
            names = os.listdir(self._folder) if os.path.isdir(self._folder) else []
            for name in filter(_UNFINISHED.fullmatch, names):
                _delete(os.path.join(self._folder, name))
        except OSError:
            if not suppress:
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
          ConfigError: it is of another model.
        """
        shapes = jax.eval_shape(_without_keys, like)
        self._check_arrays(calls, manifest.arrays_of(shapes))
        places = None if layout is None else layout.shardings(shapes)
        if places is None:
            here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            places = jax.tree.map(lambda leaf: here, shapes)
        target = jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            shapes, places,
        )  # fmt: skip
        restored = self._checkpointer.restore(
            self.path(calls),
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target),
                progress=ocp.args.JsonRestore(),
            ),
        )
        key = jax.random.wrap_key_data(restored["state"].key, impl=prng)
        state = dataclasses.replace(restored["state"], key=key)
        return state, Progress(**restored["progress"])

    def _check_arrays(self, calls: int, expected: dict[str, str]) -> None:
        there = manifest.read(self.path(calls)).arrays
        for name in expected | there:
            one, other = there.get(name, "absent"), expected.get(name, "absent")
            if one != other:
                raise ConfigError(
                    f"{self.path(calls)}: is of another model: {name} is {one} there, {other} in "
                    "that of config.json; give back the one that belongs to this run, or begin "
                    "anew in another --workdir"
                )

    def close(self) -> None:
        """Frees what reading and writing need."""
        self._checkpointer.close()


@contextlib.contextmanager
def _systems_errors(path: str) -> Iterator[None]:
    """Of TensorStore's errors, which name the system's own within theirs, makes that one."""
    before = sys.unraisablehook

    def heed(unraisable: Any) -> None:
        # Where one write has failed the others go on, and miss the loop that waited for them.
        if "Event loop is closed" not in str(unraisable.exc_value):
            before(unraisable)

    sys.unraisablehook = heed
    try:
        yield
    except ValueError as error:  # the hook stays: some may end later
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), path) from error
    sys.unraisablehook = before


def none_is_whole(damages: list[str]) -> str:
    """The error of a run none of whose checkpoints can be read."""
    listed = "\n  ".join(damages)
    return (
        f"none of the checkpoints can be read:\n  {listed}\n"
        "Give one of them back as it was, or begin anew in another --workdir."
    )


def _delete(path: str) -> None:
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
    else:
        shutil.rmtree(path)


def _without_keys(state: TrainState) -> Any:
    """The state with its typed key as plain bits, which is what a file can hold."""
    return dataclasses.replace(state, key=jax.random.key_data(state.key))
