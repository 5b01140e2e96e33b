"""The training loop: phases, evaluation, checkpoints, resume."""

from __future__ import annotations

import functools
import itertools
import math
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import rich.console

from seqgan_jax.data_hparams import OracleDataHParams
from seqgan_jax.hparams import HParams, ScheduleHParams
from seqgan_jax.methods.state import TrainState
from seqgan_jax.models.generator import parameter_count
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import (
    checkpoint,
    epochs,
    experiment,
    host_memory,
    outputs,
    plan,
    summary,
    workdir,
    writers,
)
from seqgan_jax.training.evaluation import Evaluator
from seqgan_jax.training.fitting import advice
from seqgan_jax.training.progress import PhaseProgress, ReadingProgress, clock
from seqgan_jax.types import Array, LabelledBatch, Samples, Sequences

SAMPLES_FILE = "samples.txt"
_CURVE_SECONDS = 30.0  # between two drawings of the learning curve: each takes half a second


class DivergedError(RuntimeError):
    """A loss or gradient is NaN or infinite; says where."""


def compile_calls(
    schedule: ScheduleHParams, models: experiment.Models, length: int
) -> dict[str, Callable[..., Any]]:
    """The calls that a plan names, jitted; each consumes the state that it is given."""
    method = models.method

    def negatives(state: TrainState, key: Array, number: int) -> Samples:
        return sample(
            models.language_model, state.generator, key,
            batch_size=number, length=length,
        )  # fmt: skip

    functions: dict[str, Callable[..., Any]] = {
        "pretrain_generator_epoch": functools.partial(
            epochs.pretrain_generator_epoch, method=method, batch_size=schedule.batch_size
        ),
        "generator_steps": functools.partial(
            epochs.generator_steps, method=method,
            num_steps=schedule.g_steps, batch_size=schedule.batch_size,
        ),
        "discriminator_epochs": functools.partial(
            epochs.discriminator_epochs, method=method, sampler=negatives,
            num_samples=schedule.d_samples, num_epochs=schedule.d_epochs,
            batch_size=schedule.d_batch_size,
        ),
    }  # fmt: skip
    return {name: jax.jit(call, donate_argnums=0) for name, call in functions.items()}


class Trainer:
    """One run in one folder.

    Args of the constructor:
      hparams: the experiment.
      folder: the run's folder; made if missing, resumed if it holds the same experiment.
      console: where progress is shown.

    Raises:
      ConfigError: the folder belongs to another config, or the oracle cannot be read.
      DataError: the data cannot be read, or are others than the run in the folder began with.
      DivergedError: by `run`, when a metric is not finite; nothing of that call is saved.
    """

    def __init__(self, hparams: HParams, folder: str, console: rich.console.Console) -> None:
        self._begun = time.monotonic()
        self._folder, self._console = folder, console
        workdir.check(folder, hparams)
        self._experiment = self._read_data(hparams)
        workdir.claim(folder, hparams)
        self._hparams = hparams = self._experiment.hparams
        self._checkpoints = checkpoint.Checkpoints(
            os.path.join(folder, checkpoint.FOLDER), hparams.evaluation.checkpoints_kept
        )
        self._plan = plan.calls(hparams.schedule)
        self._compiled = compile_calls(
            hparams.schedule, self._experiment.models, self._experiment.sizes.length
        )
        self._called: set[str] = set()
        self._drawn_at = -math.inf
        self._end_round = jax.jit(self._experiment.models.method.end_round, donate_argnums=0)

    def _read_data(self, hparams: HParams) -> experiment.Experiment:
        """Builds the experiment and tells of its data."""
        data = hparams.data
        if isinstance(data, OracleDataHParams):
            self._tell(f"drawing {data.num_train + data.num_test:,} sequences of data")
            return experiment.build(hparams, self._folder)
        with ReadingProgress(f"reading {data.path}", self._console) as progress:
            built = experiment.build(hparams, self._folder, progress)
        sizes = built.sizes
        self._tell(
            f"{sizes.num_train:,} sequences to learn from, {sizes.num_test:,} held out, "
            f"{sizes.vocab_size:,} tokens, {sizes.length} positions"
        )
        for note in built.notes:
            self._tell(note)
        return built

    def run(self) -> None:
        """Trains from the newest checkpoint, or from the start, to the end."""
        init = jax.jit(self._experiment.models.method.init_state)
        key = jax.random.key(self._hparams.seed)
        if self._checkpoints.newest() is None:
            self._state, self._progress = init(key), checkpoint.Progress()
        else:
            self._state, self._progress = self._checkpoints.restore(jax.eval_shape(init, key))
        if self._progress.calls == len(self._plan) and self._is_complete():
            self._console.print(f"{self._folder}: this run is finished; nothing to do")
            self._console.print(summary.table(writers.read_metrics(self._folder)))
            self._checkpoints.close()
            return
        self._earlier_seconds = self._progress.seconds
        self._saved_at = time.monotonic()
        self._writer = writers.MetricsWriter(
            self._folder, self._progress.lines, int(self._state.step)
        )
        try:
            self._run_phases()
        finally:
            self._writer.close()
            self._checkpoints.close()
        self._finish()

    def _run_phases(self) -> None:
        self._introduce()
        left = list(enumerate(self._plan))[self._progress.calls :]
        for phase, numbered in itertools.groupby(left, lambda item: item[1].phase):
            self._run_phase(phase, list(numbered))

    def _tell(self, words: str) -> None:
        """One line about what begins now, so that no wait is silent."""
        self._console.print(f"{self._folder}: {words}", highlight=False)

    def _introduce(self) -> None:
        self._evaluator = Evaluator(self._experiment)
        state, device = self._state, jax.devices()[0]
        self._console.print(
            f"{self._folder}: generator {parameter_count(state.generator):,} parameters, "
            f"discriminator {parameter_count(state.discriminator):,}, "
            f"on {jax.device_count()} x {device.device_kind}",
            highlight=False,
        )
        if self._progress.calls:
            self._console.print(
                f"resuming after {self._progress.calls} of {len(self._plan)} calls, "
                f"{clock(self._progress.seconds)} spent so far",
                highlight=False,
            )

    def _run_phase(self, phase: str, numbered: list[tuple[int, plan.Call]]) -> None:
        total = plan.phase_lengths(self._hparams.schedule)[phase]
        self._tell(f"{phase}, {total} {plan.UNITS[phase]}s; the first one compiles")
        a_unit = sum(call.phase == phase and call.unit == 1 for call in self._plan)
        begun_before = sum(call.phase == phase for call in self._plan) - len(numbered)
        with PhaseProgress(
            phase, plan.UNITS[phase], begun_before / a_unit, total, self._console
        ) as progress:
            for index, call in numbered:
                trained_on = self._run_call(call)
                self._progress.calls = index + 1
                done = sum(c.phase == phase for c in self._plan[: index + 1])
                progress.advance(done / a_unit)
                if call.ends_unit:
                    self._end_unit(call, total, trained_on, progress)
                    if call.phase == plan.G_PRETRAIN and call.unit == total:
                        self._save_pretrained()
                self._save_if_due(last=index + 1 == len(self._plan))

    def _run_call(self, call: plan.Call) -> LabelledBatch | None:
        """Runs one compiled call and adds its metrics to those of its unit."""
        begun = time.monotonic()
        result = self._compiled[call.name](self._state, self._experiment.train)
        self._state, metrics = result[0], jax.device_get(result[1])
        if call.name not in self._called:  # it was compiled just now
            self._called.add(call.name)
            host_memory.release()
        if call.phase == plan.ADVERSARIAL and call.ends_unit:
            self._state = self._end_round(self._state)
        values = {name: float(value) for name, value in metrics.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise DivergedError(
                f"{call.phase} {plan.UNITS[call.phase]} {call.unit}: {', '.join(bad)} is not "
                f"finite; the newest checkpoint in {self._folder} is from before it. "
                "Lower the learning rate, in another --workdir"
            )
        values["work_seconds"] = time.monotonic() - begun
        sizes = self._experiment.sizes
        values["work_tokens"] = plan.work_of(
            call, self._hparams.schedule, sizes.length, sizes.num_train,
            self._experiment.models.method.drawn,
        ).tokens  # fmt: skip
        pending = self._progress.pending
        for name, value in values.items():
            entry = pending.setdefault(name, [0.0, 0.0])
            entry[0] += value
            entry[1] += 1.0
        return result[2] if len(result) > 2 else None

    def _end_unit(
        self,
        call: plan.Call,
        total: int,
        trained_on: LabelledBatch | None,
        progress: PhaseProgress,
    ) -> None:
        """Evaluates where it is due, and writes the unit's line."""
        pending, self._progress.pending = self._progress.pending, {}
        (seconds, _), (tokens, _) = pending.pop("work_seconds"), pending.pop("work_tokens")
        metrics = {name: total / count for name, (total, count) in pending.items()}
        metrics["tokens_per_second"] = tokens / seconds
        due = call.unit in (1, total) or call.unit % self._hparams.evaluation.eval_every == 0
        if due:
            if trained_on is not None:
                metrics |= self._evaluator.discriminator(self._state, trained_on)
            if call.phase != plan.D_PRETRAIN:
                metrics |= self._evaluator.generator(self._state)
        self._write(call.phase, call.unit, metrics)
        progress.line(metrics, due)
        if call.phase == plan.G_PRETRAIN and call.unit == total:
            words = advice(self._hparams, metrics["nll_test"])
            if words is not None:
                self._tell(words)
        if due and time.monotonic() - self._drawn_at >= _CURVE_SECONDS:
            summary.plot_learning_curve(self._folder, writers.read_metrics(self._folder))
            self._drawn_at = time.monotonic()

    def _seconds(self) -> float:
        return self._earlier_seconds + time.monotonic() - self._begun

    def _write(self, phase: str, unit: int, metrics: dict[str, float]) -> None:
        self._writer.write(
            {
                "step": int(self._state.step),
                "phase": phase,
                plan.UNITS[phase]: unit,
                "seconds": round(self._seconds(), 3),
                **metrics,
            }
        )
        self._progress.lines = self._writer.lines

    def _save_if_due(self, last: bool) -> None:
        if last or time.monotonic() - self._saved_at >= self._hparams.evaluation.checkpoint_seconds:
            self._writer.sync()
            self._progress.seconds = self._seconds()
            self._checkpoints.save(self._state, self._progress)
            self._saved_at = time.monotonic()

    def _save_pretrained(self) -> None:
        """Keeps the generator of maximum likelihood: the other one, by which SeqGAN is judged."""
        folder = os.path.join(self._folder, checkpoint.PRETRAINED_FOLDER)
        pretrained = checkpoint.Checkpoints(folder, 1)
        if pretrained.newest() is None:
            pretrained.save(self._state, self._progress)
        pretrained.close()

    def _finish(self) -> None:
        lines = writers.read_metrics(self._folder)
        summary.plot_learning_curve(self._folder, lines)
        number = self._hparams.evaluation.num_written
        samples = self._evaluator.samples(self._state, max(number, 1), "written")
        few = Sequences(*(leaf[:number] for leaf in jax.device_get(samples)))
        outputs.write_samples(os.path.join(self._folder, SAMPLES_FILE), few, self._experiment.codec)
        summary.write_summary(self._folder, lines)
        self._console.print(summary.table(lines))
        self._console.print(
            f"{self._folder}: {clock(self._seconds())}; learning_curve.png, samples.txt, "
            "summary.json, metrics.jsonl, tensorboard/ and checkpoints/ are there",
            highlight=False,
        )

    def _is_complete(self) -> bool:
        return os.path.exists(os.path.join(self._folder, "summary.json"))
