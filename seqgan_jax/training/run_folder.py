"""What a run keeps in its folder while it goes on: lines of metrics, checkpoints, its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

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
from seqgan_jax.training.evaluation import Evaluator
from seqgan_jax.training.sharding import Layout, on_host
from seqgan_jax.types import Array, Sequences

SAMPLES_FILE = "samples.txt"


class RunFolder:
    """The folder of one run, one seed.

    Every process of a job has it, and makes it at the same time; the first has claimed it.

    Args of the constructor:
      folder: see `claim`.
      hparams: as given, not as fitted to the data.
      keeping: checkpoints to keep, if `hparams` ask for fewer.
    """

    def __init__(self, folder: str, hparams: HParams, keeping: int = 1) -> None:
        self.folder = folder
        self.seed = hparams.seed
        self._prng = hparams.prng
        self.progress = checkpoint.Progress()
        self._checkpoints = checkpoint.Checkpoints(
            os.path.join(folder, checkpoint.FOLDER),
            max(keeping, hparams.evaluation.checkpoints_kept),
        )

    def key(self) -> Array:
        """The key that the run begins with."""
        return jax.random.key(self.seed, impl=self._prng)

    def checkpoints(self) -> set[int]:
        """The numbers of calls that can be resumed after."""
        return self._checkpoints.steps()

    def restore(self, like: TrainState, calls: int, layout: Layout) -> TrainState:
        """The state after so many calls; what was saved later is dropped."""
        self._checkpoints.drop_after(calls)
        state, self.progress = self._checkpoints.restore(like, layout, prng=self._prng)
        return state

    def begin_anew(self) -> None:
        """Drops every checkpoint."""
        self._checkpoints.drop_after(0)

    def begin(self, step: int) -> None:
        """Opens metrics.jsonl, without the lines of undone work."""
        kind = writers.MetricsWriter if hosts.is_first() else writers.NoWriter
        self._writer = kind(self.folder, self.progress.lines, step)

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

    def save(self, state: TrainState, seconds: float) -> None:
        """Writes a checkpoint."""
        self._writer.sync()
        self.progress.seconds = seconds
        self._checkpoints.save(state, self.progress)

    def save_pretrained(self, state: TrainState, seconds: float) -> None:
        """Keeps the generator of maximum likelihood: the other one, by which methods are judged."""
        path = os.path.join(self.folder, checkpoint.PRETRAINED_FOLDER)
        pretrained = checkpoint.Checkpoints(path, 1)
        pretrained.drop_after(0)  # of an attempt that was killed before its next checkpoint
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

    def is_complete(self) -> bool:
        """Whether its last file is there."""
        return os.path.exists(os.path.join(self.folder, "summary.json"))

    def close(self) -> None:
        """Closes the files."""
        if hasattr(self, "_writer"):
            self._writer.close()
        self._checkpoints.close()


def claim(folder: str, hparams: HParams) -> None:
    """Makes the folder if it is missing, and notes in it what run it is of.

    Raises:
      ConfigError: it belongs to another config or method, or cannot be made.
    """
    workdir.claim(folder, hparams)
    own_method.keep(hparams.method, folder)


def restored(
    runs: Sequence[RunFolder], initial: Callable[[Array], TrainState], layout: Layout
) -> list[TrainState]:
    """The state of each run at the newest checkpoint that all have, or a fresh one.

    Args:
      runs: trained together.
      initial: makes a fresh state from a key.
      layout: where states are to lie.

    Raises:
      ConfigError: as of `common_checkpoint`.
    """
    calls = common_checkpoint(runs)
    states = []
    for run in runs:
        key = run.key()
        if calls:
            states.append(run.restore(jax.eval_shape(initial, key), calls, layout))
        else:
            states.append(layout.made(initial, key))
    return states


def common_checkpoint(runs: Sequence[RunFolder]) -> int:
    """The newest checkpoint that runs trained together all have, by its calls; 0 for none.

    A kill between their first checkpoints leaves some with one and others without: they begin anew.

    Raises:
      ConfigError: some are finished, and others are not that far: they were not trained together.
    """
    found = max(set.intersection(*(run.checkpoints() for run in runs)), default=0)
    calls = hosts.agreed(found)
    if calls == 0 and len(runs) > 1:
        finished = [run.folder for run in runs if run.is_complete()]
        if hosts.agreed(len(finished)):
            first = (finished or ["another"])[0]
            raise ConfigError(
                f"{first}: is finished, and {runs[-1].folder} is not; runs are trained "
                "together from the start: give the others alone, or another folder"
            )
        for run in runs:
            run.begin_anew()
    return calls
