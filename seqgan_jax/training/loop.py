"""The training loop: phases, evaluation, checkpoints, resume; of one seed or of several at once."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.console

from seqgan_jax.hparams import HParams
from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import (
    early_stopping,
    experiment,
    host_memory,
    hosts,
    plan,
    seeds,
    shared_start,
    summary,
    writers,
)
from seqgan_jax.training.divergence import check_finite
from seqgan_jax.training.evaluation import Evaluator
from seqgan_jax.training.fitting import advice
from seqgan_jax.training.opening import folders_of, open_runs
from seqgan_jax.training.progress import PhaseProgress, clock
from seqgan_jax.training.run_folder import restored
from seqgan_jax.training.sharding import on_host
from seqgan_jax.types import Array, LabelledBatch

_CURVE_SECONDS = 30.0  # between two drawings of the learning curve: each takes half a second


class Trainer:
    """One run in one folder; or several that differ in their seed alone, as one computation.

    Args of the constructor:
      hparams: the experiment.
      folders: the run's folder; made if missing, resumed if it holds the same experiment. With
        `hparams.num_seeds` above 1 it holds those of the seeds; or they are given, as a list. The
        i-th is a run of seed `hparams.seed + i`, as it would be alone but for rounding, and for
        early stopping, which waits for the last of them; they are trained, and resumed, together.
      console: where progress is shown.
      starts: folders of runs of the same seeds, settings and way to pre-train: where nothing has
        been trained yet, their pre-training is taken over if it would be these runs' own.

    Raises:
      ConfigError: a folder belongs to another config, or the oracle cannot be read; by `run`, of
        several folders some hold a finished run and others none.
      DataError: the data cannot be read, or are others than the run in the folder began with.
      DivergedError: by `run`, when a metric is not finite; nothing of that call is saved.
    """

    def __init__(
        self,
        hparams: HParams,
        folders: str | Sequence[str],
        console: rich.console.Console,
        starts: Sequence[str] = (),
    ) -> None:
        self._begun = time.monotonic()
        single = isinstance(folders, str)
        names = folders_of(hparams, folders) if isinstance(folders, str) else list(folders)
        self._console, self._starts = console, starts
        self._name = str(folders) if single else names[0]
        self._opened = opened = open_runs(hparams, names, self._tell, console)
        self._experiment, self._runs, self._layout = opened[:3]
        self._hparams, self._schedule = self._experiment.hparams, opened.schedule
        self._plan = plan.calls(self._schedule)
        self._called: set[str] = set()
        self._drawn_at = -math.inf

    @property
    def _calls(self) -> int:
        """Calls of the plan that are finished."""
        return self._runs[0].progress.calls

    def run(self) -> None:
        """Trains from the newest checkpoint, or from the start, to the end."""
        with self._layout.context():
            self._run()

    def _run(self) -> None:
        self._restore()
        complete = all(run.is_complete() for run in self._runs)
        if self._calls == len(self._plan) and hosts.all_say(complete):
            for run in self._runs:
                self._console.print(f"{run.folder}: this run is finished; nothing to do")
                self._console.print(summary.table(writers.read_metrics(run.folder)))
                run.close()
            return
        self._saved_at = time.monotonic()
        try:
            if not self._take_over():
                for run, step in zip(self._runs, self._of_each(self._state.step), strict=True):
                    run.begin(step)
            self._earlier_seconds = self._runs[0].progress.seconds
            self._run_phases()
        finally:
            for run in self._runs:
                run.close()
        self._finish()

    def _restore(self) -> None:
        """The state of the newest checkpoint that all folders have, or a fresh one."""
        initial = functools.partial(
            early_stopping.initial_state, self._experiment.models.method, self._schedule
        )
        states = restored(self._runs, initial, self._layout)
        self._state = self._stacked(states)
        origin = shared_start.origin(self._experiment, self._runs, self._layout)
        shared_start.note(self._runs, origin)
        if self._calls:
            self._tell(
                f"resuming after {self._calls} of {len(self._plan)} calls, "
                f"{clock(self._runs[0].progress.seconds)} spent so far"
            )

    def _take_over(self) -> bool:
        """The start of other runs in place of their own pre-training, where it is the same."""
        if self._calls or not self._starts:
            return False
        states = shared_start.take_over(self._runs, self._states(), self._starts)
        if states is not None:
            self._state = self._stacked(states)
            self._tell(f"begins with the pre-training of {', '.join(self._starts)}, as its own")
        return states is not None

    def _stacked(self, states: Sequence[TrainState]) -> TrainState:
        """The runs' states as one, where the compiled calls want it."""
        if len(states) == 1:
            state: TrainState = self._layout.placed(states[0])
            return state
        whole: TrainState = self._layout.made(seeds.stacked, states, stacked=True)
        return whole

    def _states(self) -> list[TrainState]:
        """The state of each run."""
        states: list[TrainState] = seeds.split(self._state, len(self._runs))
        return states

    def _of_each(self, numbers: Array) -> list[int]:
        """A whole number of each run's state."""
        values: list[int] = np.atleast_1d(on_host(numbers)).tolist()
        return values

    def _run_phases(self) -> None:
        self._introduce()
        left = list(enumerate(self._plan))[self._calls :]
        for phase, numbered in itertools.groupby(left, lambda item: item[1].phase):
            self._run_phase(phase, list(numbered))

    def _tell(self, words: str) -> None:
        """One line about what begins now, so that no wait is silent."""
        self._console.print(f"{self._name}: {words}", highlight=False)

    def _introduce(self) -> None:
        self._evaluator = Evaluator(self._experiment, self._layout)
        several = f", {len(self._runs)} seeds side by side" if len(self._runs) > 1 else ""
        mesh = self._layout.data, self._layout.model
        self._tell(experiment.described(self._experiment, self._states()[0], mesh) + several)

    def _run_phase(self, phase: str, numbered: list[tuple[int, plan.Call]]) -> None:
        total = plan.phase_lengths(self._schedule)[phase]
        self._tell(f"{phase}, {total} {plan.UNITS[phase]}s; the first one compiles")
        a_unit = sum(call.phase == phase and call.unit == 1 for call in self._plan)
        begun_before = sum(call.phase == phase for call in self._plan) - len(numbered)
        with PhaseProgress(
            phase, plan.UNITS[phase], begun_before / a_unit, total, self._console
        ) as progress:
            for index, call in numbered:
                trained_on = self._run_call(call)
                is_last = call.unit == total
                if phase == plan.G_PRETRAIN and self._schedule.g_patience > 0:
                    is_last = self._stop_early(call, is_last)
                finished = numbered[-1][0] + 1 if is_last and call.ends_unit else index + 1
                for run in self._runs:
                    run.progress.calls = finished
                progress.advance((begun_before + index - numbered[0][0] + 1) / a_unit)
                if call.ends_unit:
                    self._end_unit(call, is_last, trained_on, progress)
                self._save_if_due(last=finished == len(self._plan))
                if finished > index + 1:
                    break

    def _stop_early(self, call: plan.Call, is_last: bool) -> bool:
        """Keeps the best generator; goes back to it once its patience, or the phase, is over."""
        self._state = self._opened.calls["keep_best"](self._state, self._opened.test)
        over = early_stopping.is_over(self._state.best, self._schedule.g_patience)
        if not (is_last or bool(jnp.all(over))):
            return False
        self._state = self._opened.calls["go_back"](self._state)
        epochs = self._of_each(self._state.best.epoch)
        by_seed = " by seed" if len(epochs) > 1 else ""
        self._tell(
            f"maximum likelihood ends after epoch {call.unit}; lowest NLL_test after epoch "
            f"{', '.join(map(str, epochs))}{by_seed}, whose generator goes on"
        )
        return True

    def _run_call(self, call: plan.Call) -> LabelledBatch | None:
        """Runs one compiled call and adds its metrics to those of its unit."""
        begun = time.monotonic()
        result = self._opened.calls[call.name](self._state, self._opened.train)
        jax.block_until_ready(result[:2])  # on every device: see `hosts.gathered`
        self._state = result[0]
        of_each = seeds.values_of_each(result[1], len(self._runs))  # waits for the call
        seconds = time.monotonic() - begun
        if call.name not in self._called:  # it was compiled just now
            self._called.add(call.name)
            host_memory.release()
        if call.phase == plan.ADVERSARIAL and call.ends_unit:
            self._state = self._opened.calls["end_round"](self._state)
        sizes = self._experiment.sizes
        work = plan.work_of(
            call, self._schedule, sizes.length, sizes.num_train, self._experiment.models.method
        )
        for run, values in zip(self._runs, of_each, strict=True):
            check_finite(call, run.folder, values)
        for run, values in zip(self._runs, of_each, strict=True):
            run.add({**values, "work_seconds": seconds, "work_tokens": work.tokens})
            run.progress.training_seconds += seconds
            run.progress.work = [a + b for a, b in zip(run.progress.work, work[:-1], strict=True)]
        return result[2] if len(result) > 2 else None

    def _end_unit(
        self,
        call: plan.Call,
        is_last: bool,
        trained_on: LabelledBatch | None,
        progress: PhaseProgress,
    ) -> None:
        """Evaluates where it is due, and writes the unit's lines."""
        due = call.unit == 1 or is_last or call.unit % self._hparams.evaluation.eval_every == 0
        lines, number = [], len(self._runs)
        ends_start = is_last and call.phase == plan.G_PRETRAIN
        # Taken apart, the state is held twice: only where somebody looks at it.
        states = self._states() if due or ends_start else [self._state] * number
        judged = due and self._experiment.models.method.is_verdict and trained_on is not None
        pools = seeds.split(trained_on, number) if judged else [None] * number
        steps = self._of_each(self._state.step)
        for run, state, pool, step in zip(self._runs, states, pools, steps, strict=True):
            metrics: dict[str, Any] = run.taken()
            tokens, seconds = metrics.pop("work_tokens"), metrics.pop("work_seconds")
            metrics["tokens_per_second"] = tokens / seconds
            if number > 1:
                metrics["together"] = number
            if ends_start and state.best is not None:
                metrics["best_epoch"] = int(state.best.epoch)
            if due:
                if pool is not None:
                    metrics |= self._evaluator.discriminator(state, pool)
                if call.phase != plan.D_PRETRAIN:
                    metrics |= self._evaluator.generator(state)
            run.write(call.phase, call.unit, step, self._seconds(), metrics)
            lines.append(metrics)
            if ends_start:
                run.save_pretrained(state, self._seconds())
        mean = {name: float(np.mean([line[name] for line in lines])) for name in lines[0]}
        progress.line(mean, due)
        if ends_start:
            words = advice(self._hparams, mean["nll_test"])
            if words is not None:
                self._tell(words)
        if due and hosts.is_first() and time.monotonic() - self._drawn_at >= _CURVE_SECONDS:
            for run in self._runs:
                run.draw_curve()
            self._drawn_at = time.monotonic()

    def _seconds(self) -> float:
        return self._earlier_seconds + time.monotonic() - self._begun

    def _save_if_due(self, last: bool) -> None:
        waited = time.monotonic() - self._saved_at
        due = waited >= self._hparams.evaluation.checkpoint_seconds
        if last or hosts.agreed(due):  # clocks differ from host to host
            for run, state in zip(self._runs, self._states(), strict=True):
                run.save(state, self._seconds())
            self._saved_at = time.monotonic()

    def _finish(self) -> None:
        for run, state in zip(self._runs, self._states(), strict=True):
            run.finish(self._evaluator, state, self._hparams)
            if not hosts.is_first():
                continue
            self._console.print(summary.table(writers.read_metrics(run.folder)))
            self._console.print(
                f"{run.folder}: {clock(self._seconds())}; learning_curve.png, samples.txt, "
                "summary.json, metrics.jsonl, tensorboard/ and checkpoints/ are there",
                highlight=False,
            )
