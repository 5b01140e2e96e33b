"""The training loop: phases, evaluation, checkpoints, resume; of one seed or of several at once."""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections.abc import Sequence
from typing import Any

import rich.console

from seqgan_jax.hparams import HParams
from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import (
    early_stopping,
    experiment,
    hosts,
    plan,
    seeds,
    shared_start,
    summary,
    writers,
)
from seqgan_jax.training.divergence import check_state
from seqgan_jax.training.evaluation import Evaluator
from seqgan_jax.training.opening import folders_of, open_runs
from seqgan_jax.training.progress import PhaseProgress, clock
from seqgan_jax.training.run_folder import restored
from seqgan_jax.training.stopping import Stop, Stopped
from seqgan_jax.training.units import Units, of_each
from seqgan_jax.types import LabelledBatch


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
      ConfigError: a folder belongs to another config, another process trains there, or the oracle
        cannot be read; by `run`, no checkpoint is whole, or of several folders some hold a finished
        run and others none.
      DataError: the data cannot be read, or are others than the run in the folder began with.
      DivergedError: by `run`, when a metric is not finite; nothing of that call is saved.
      OSError: by `run`, where a file cannot be written; the last checkpoint is as it was.
      Stopped: by `run`, after a SIGINT or SIGTERM, once the step at hand is done and saved.
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

    @property
    def _calls(self) -> int:
        """Calls of the plan that are finished."""
        return self._runs[0].progress.calls

    def run(self) -> None:
        """Trains from the newest checkpoint, or from the start, to the end."""
        try:
            with Stop() as self._stop, self._layout.context():
                self._run()
        finally:
            with contextlib.ExitStack() as stack:  # each, whatever becomes of the others
                for run in self._runs:
                    stack.callback(run.close)
        if self._stop.requested:
            raise Stopped(self._stop.requested, f"{self._name}: is finished")

    def _run(self) -> None:
        self._restore()
        complete = all(run.is_complete() for run in self._runs)
        if self._calls == len(self._plan) and hosts.all_say(complete):
            for run in self._runs:
                run.check_lines()
                self._console.print(f"{run.folder}: this run is finished; nothing to do")
                self._console.print(summary.table(writers.read_metrics(run.folder)))
            return
        self._saved_at = time.monotonic()
        if not self._take_over():
            for run, step in zip(self._runs, of_each(self._state.step), strict=True):
                run.begin(step)
        self._earlier_seconds = self._runs[0].progress.seconds
        self._run_phases()
        self._finish()

    def _restore(self) -> None:
        """The state of the newest checkpoint that all folders have, or a fresh one."""
        initial = functools.partial(
            early_stopping.initial_state, self._experiment.models.method, self._schedule
        )
        states = restored(self._runs, initial, self._layout, self._tell)
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
        self._units = Units(self._opened, self._evaluator, self._tell, self._seconds)
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
                metrics = None
                if call.ends_unit:
                    metrics = self._end_unit(call, is_last, trained_on, progress)
                self._save_if_due(call, metrics, last=finished == len(self._plan))
                if finished > index + 1:
                    break

    def _run_call(self, call: plan.Call) -> LabelledBatch | None:
        """Runs one compiled call; what a discriminator was trained on, if one was."""
        self._state, trained_on = self._units.run_call(self._state, call)
        return trained_on

    def _stop_early(self, call: plan.Call, is_last: bool) -> bool:
        """Keeps the best generator; whether maximum likelihood is over, and it goes on."""
        self._state, over = self._units.stop_early(self._state, call, is_last)
        return over

    def _end_unit(
        self,
        call: plan.Call,
        is_last: bool,
        trained_on: LabelledBatch | None,
        progress: PhaseProgress,
    ) -> list[dict[str, Any]] | None:
        """Writes a unit's lines; each run's metrics where it has evaluated, else None."""
        return self._units.end(self._state, call, is_last, trained_on, progress)

    def _seconds(self) -> float:
        return self._earlier_seconds + time.monotonic() - self._begun

    def _save_if_due(
        self, call: plan.Call, metrics: list[dict[str, Any]] | None, last: bool
    ) -> None:
        """Saves all runs where it is time, one is at its best, or a signal has come.

        Raises:
          Stopped: a signal has come.
        """
        scores: list[float | None] = [None] * len(self._runs)
        # By what the run is for: where rounds follow, maximum likelihood's epochs are not judged.
        if metrics is not None and call.phase == self._plan[-1].phase:
            scores = [run.score(each) for run, each in zip(self._runs, metrics, strict=True)]
        waited = time.monotonic() - self._saved_at
        due = waited >= self._hparams.evaluation.checkpoint_seconds or any(
            score is not None and run.checkpoints.is_among_best(score)
            for run, score in zip(self._runs, scores, strict=True)
        )
        # Clocks differ from host to host, and a signal may have come to one of them. It is above 1.
        said = hosts.greatest(self._stop.requested or int(due))
        if last or said:
            check_state(call, self._state, [run.folder for run in self._runs])
            for run, state, score in zip(self._runs, self._states(), scores, strict=True):
                run.save(state, self._seconds(), score)
            self._saved_at = time.monotonic()
        if said > 1:
            hosts.leave()
            place = "after" if call.ends_unit else "within"
            raise Stopped(
                said,
                f"{self._name}: stopped {place} {call.phase} {plan.UNITS[call.phase]} {call.unit}, "
                "and saved; the same command goes on from there",
            )

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
