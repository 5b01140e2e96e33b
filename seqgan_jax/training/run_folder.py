"""What a run keeps in its folder while it goes on: lines of metrics, checkpoints, its end."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from seqgan_jax.atomic import remove_partial, write_atomically
from seqgan_jax.checked import ConfigError
from seqgan_jax.hparams import HParams
from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import (
    checkpoint,
    hosts,
    outputs,
    own_method,
    plan,
    summary,
    workdir,
    writers,
)
from seqgan_jax.training.checkpoint_folder import none_is_whole
from seqgan_jax.training.evaluation import Evaluator
from seqgan_jax.training.lock import Lock
from seqgan_jax.training.sharding import Layout, on_host
from seqgan_jax.types import Array, Sequences

SAMPLES_FILE = "samples.txt"
_SAVED_FILE = ".saved"  # there once a checkpoint has been


class RunFolder:
    """The folder of one run, one seed.

    Every process of a job has it, and makes it at the same time; the first has claimed it.

    Args of the constructor:
      folder: see `claim`.
      hparams: as given, not as fitted to the data.
      together: whether others are trained with it. A kill between two saves then leaves some one
        checkpoint behind, and there must still be one before it.
      lock: of the folder, in the first process; released by `close`.
    """

    def __init__(
        self, folder: str, hparams: HParams, together: bool = False, lock: Lock | None = None
    ) -> None:
        self.folder = folder
        self.seed = hparams.seed
        self._prng, self._lock = hparams.prng, lock
        self.progress = checkpoint.Progress()
        settings = hparams.evaluation
        self._best_metric = summary.best_metric(hparams)
        self._identity = workdir.identity(hparams)
        self.checkpoints = checkpoint.Checkpoints(
            os.path.join(folder, checkpoint.FOLDER), self._identity,
            settings.keep_last + together, settings.keep_best,
        )  # fmt: skip

    def key(self) -> Array:
        """The key that the run begins with."""
        return jax.random.key(self.seed, impl=self._prng)

    def restore(self, like: TrainState, calls: int, layout: Layout) -> TrainState:
        """The state after so many calls."""
        state, self.progress = self.checkpoints.restore(like, calls, layout, prng=self._prng)
        return state

    def score(self, metrics: Mapping[str, float]) -> float | None:
        """By which the best checkpoints are kept, the lowest; None where it was not measured."""
        value = metrics.get(self._best_metric)
        if value is None or not math.isfinite(value):
            return None
        return summary.sign(self._best_metric) * value

    def begin(self, step: int) -> None:
        """Opens metrics.jsonl, without the lines of undone work."""
        kind = writers.MetricsWriter if hosts.is_first() else writers.NoWriter
        self._writer = kind(self.folder, self.progress.lines, self.progress.digest, step)

    def add(self, values: dict[str, float]) -> None:
        """Adds a call's metrics to those of its unit."""
        for name, value in values.items():
            entry = self.progress.pending.setdefault(name, [0.0, 0.0])
            entry[0] += value
            entry[1] += 1.0

    def taken(self) -> dict[str, float]:
        """The means of the metrics added since it was last asked."""
        pending, self.progress.pending = self.progress.pending, {}
        return {name: total / count for name, (total, count) in pending.items()}

    def write(
        self, phase: str, unit: int, step: int, seconds: float, metrics: dict[str, float]
    ) -> None:
        """Writes the line of a unit, with the work done so far."""
        self._writer.write(
            {
                "step": step,
                "seed": self.seed,
                "phase": phase,
                plan.UNITS[phase]: unit,
                "seconds": round(seconds, 3),
                "training_seconds": round(self.progress.training_seconds, 3),
                **dict(zip(plan.BUDGET, self.progress.work, strict=True)),
                **metrics,
            }
        )
        self.progress.lines = self._writer.lines

    def replay(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Writes lines that another run has written, as they stand."""
        for line in lines:
            self._writer.write(line)
        self.progress.lines = self._writer.lines

    def save(self, state: TrainState, seconds: float, score: float | None = None) -> None:
        """Writes a checkpoint, with its `score`."""
        self._writer.sync()
        self.progress.seconds, self.progress.digest = seconds, self._writer.digest
        self.checkpoints.save(state, self.progress, score)
        mark = os.path.join(self.folder, _SAVED_FILE)
        if hosts.is_first() and not os.path.exists(mark):
            write_atomically(mark, "")

    def save_pretrained(self, state: TrainState, seconds: float) -> None:
        """Keeps the generator of maximum likelihood: the other one, by which methods are judged."""
        path = os.path.join(self.folder, checkpoint.PRETRAINED_FOLDER)
        pretrained = checkpoint.Checkpoints(path, self._identity)
        self.progress.seconds = seconds
        pretrained.save(state, self.progress)
        pretrained.close()

    def draw_curve(self) -> None:
        """Draws learning_curve.png."""
        summary.plot_learning_curve(self.folder, writers.read_metrics(self.folder))

    def finish(self, evaluator: Evaluator, state: TrainState, hparams: HParams) -> None:
        """Writes samples, summary and learning curve."""
        number = hparams.evaluation.num_written
        samples = on_host(evaluator.samples(state, max(number, 1), "written"))
        if not hosts.is_first():
            return
        self.draw_curve()
        few = Sequences(*(leaf[:number] for leaf in samples))
        outputs.write_samples(os.path.join(self.folder, SAMPLES_FILE), few, evaluator.codec)
        summary.write_summary(self.folder, writers.read_metrics(self.folder))

    def has_begun(self) -> bool:
        """Whether lines of metrics have been written."""
        path = os.path.join(self.folder, writers.FILE_NAME)
        return os.path.exists(path) and os.path.getsize(path) > 0

    def was_saved(self) -> bool:
        """Whether a checkpoint has ever been complete."""
        return self.is_complete() or os.path.exists(os.path.join(self.folder, _SAVED_FILE))

    def is_complete(self) -> bool:
        """Whether its last file is there."""
        return os.path.exists(os.path.join(self.folder, "summary.json"))

    def close(self) -> None:
        """Closes the files, and lets others have the folder."""
        with contextlib.ExitStack() as stack:  # each of them, whatever becomes of the others
            if self._lock is not None:
                stack.callback(self._lock.release)
            stack.callback(self.checkpoints.close)
            if hasattr(self, "_writer"):
                stack.callback(self._writer.close)


def claim(folder: str, hparams: HParams) -> None:
    """Notes in the folder what run it is of, and deletes what a kill has left half written.

    Raises:
      ConfigError: it belongs to another config or method, cannot be written, or a link in it leads
        elsewhere.
    """
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    for path in paths:
        if os.path.islink(path) and not _is_within(path, folder):
            raise ConfigError(
                f"{path}: is a link that leads out of the run's folder, and would be written "
                "to; give a --workdir without it"
            )
    workdir.claim(folder, hparams)
    own_method.keep(hparams.method, folder)
    remove_partial(folder)
    remove_partial(os.path.join(folder, outputs.MUSIC_FOLDER))


def _is_within(path: str, folder: str) -> bool:
    root = os.path.realpath(folder)
    return os.path.commonpath([os.path.realpath(path), root]) == root


def restored(
    runs: Sequence[RunFolder],
    initial: Callable[[Array], TrainState],
    layout: Layout,
    tell: Callable[[str], None],
) -> list[TrainState]:
    """The state of each run at the newest checkpoint that all have, or a fresh one.

    What was saved later is dropped, and what is damaged set aside.

    Args:
      runs: trained together.
      initial: makes a fresh state from a key.
      layout: where states are to lie.
      tell: says what is damaged.

    Raises:
      ConfigError: as of `common_checkpoint`, or a checkpoint is of another model.
    """  # fmt: skip
    calls = hosts.agreed(hosts.first_alone(lambda: common_checkpoint(runs, tell)) or 0)
    states = []
    for run in runs:
        key = run.key()
        if calls:
            states.append(run.restore(jax.eval_shape(initial, key), calls, layout))
        else:
            states.append(layout.made(initial, key))
    return states


def common_checkpoint(runs: Sequence[RunFolder], tell: Callable[[str], None]) -> int:
    """The newest whole checkpoint that runs trained together all have, by its calls; 0 for none.

    A kill between their first checkpoints leaves some with one and others without: they begin anew.
    In the first process alone; drops what was saved later, and sets aside what is damaged.

    Raises:
      ConfigError: there are some, and none is whole; they are gone; or runs have none in common,
        since they were not trained together.
    """
    damaged: list[tuple[RunFolder, int, str]] = []
    newest = 0
    for calls in sorted(set.intersection(*(set(run.checkpoints.steps()) for run in runs)))[::-1]:
        found = [(run, calls, run.checkpoints.damage(calls)) for run in runs]
        bad = [(run, calls, damage) for run, calls, damage in found if damage is not None]
        if not bad:
            newest = calls
            break
        damaged += bad
    if damaged and not newest:
        raise ConfigError(none_is_whole([damage for *_, damage in damaged]))
    if newest == 0:
        _check_none_is_missing(runs)
        if any(run.has_begun() for run in runs):
            tell("was stopped before its first checkpoint; begins anew")
    for run, calls, damage in damaged:
        tell(f"warning: {damage}; going back to the checkpoint before it, after {newest} calls")
        run.checkpoints.set_aside(calls)
    for run in runs:
        run.checkpoints.drop_after(newest)
    return newest


def _check_none_is_missing(runs: Sequence[RunFolder]) -> None:
    """Refuses to begin anew, but where a run of those has never been saved.

    Raises:
      ConfigError: names the folders.
    """
    never = [run for run in runs if not (run.checkpoints.steps() or run.was_saved())]
    gone = [run for run in runs if run.was_saved() and not run.checkpoints.steps()]
    if gone:
        raise ConfigError(
            f"{gone[0].folder}: its checkpoints are gone; give them back, or begin anew in another "
            "--workdir"
        )
    further = [run for run in runs if len(run.checkpoints.steps()) > 1 or run.is_complete()]
    if further and never:
        raise ConfigError(
            f"{further[0].folder}: has been trained further than {never[0].folder}; runs are "
            "trained together from the start: give the others alone, or another folder"
        )
    if not never:
        listed = "; ".join(f"{run.folder}: after {run.checkpoints.steps()} calls" for run in runs)
        raise ConfigError(
            f"these runs have no checkpoint in common, and were not trained together: {listed}"
        )
