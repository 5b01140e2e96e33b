"""The units of a run, epochs, d-steps and rounds: their calls, and what is told of them then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import divergence, early_stopping, health, host_memory, hosts, plan, seeds
from seqgan_jax.training.evaluation import Evaluator
from seqgan_jax.training.fitting import advice
from seqgan_jax.training.opening import Opened
from seqgan_jax.training.progress import PhaseProgress
from seqgan_jax.training.sharding import on_host
from seqgan_jax.types import Array, LabelledBatch

_CURVE_SECONDS = 30.0  # between two drawings of the learning curve: each takes half a second


def of_each(numbers: Array) -> list[int]:
    """A whole number of each run's state."""
    values: list[int] = np.atleast_1d(on_host(numbers)).tolist()
    return values


class Units:
    """Makes the calls of runs trained together, keeps account of them, and ends their units.

    States are of one seed, or of several with a leading axis of seeds.

    Args of the constructor:
      opened: the runs.
      evaluator: of their experiment.
      tell: shows a line.
      seconds: the time spent so far, over all sittings.
    """

    def __init__(
        self,
        opened: Opened,
        evaluator: Evaluator,
        tell: Callable[[str], None],
        seconds: Callable[[], float],
    ) -> None:
        self._opened, self._evaluator = opened, evaluator
        self._tell, self._seconds = tell, seconds
        self._experiment, self._runs, self._schedule = (
            opened.experiment, opened.runs, opened.schedule
        )  # fmt: skip
        self._folders = [run.folder for run in opened.runs]
        self._called: set[str] = set()
        self._drawn_at = -math.inf

    def run_call(
        self, state: TrainState, call: plan.Call
    ) -> tuple[TrainState, LabelledBatch | None]:
        """Runs one compiled call and adds its metrics to those of its unit.

        Args:
          state: consumed.
          call: the call.

        Returns:
          The next state; and what a discriminator was trained on, if one was.

        Raises:
          DivergedError: a metric of one of its steps is not finite; nothing of the call is
            accounted for.
        """
        begun = time.monotonic()
        with divergence.debugged(call, self._folders[0]):
            result = self._opened.calls[call.name](state, self._opened.train)
            jax.block_until_ready(result[:2])  # on every device: see `hosts.gathered`
        state = result[0]
        values_of_each = seeds.values_of_each(result[1], len(self._runs))  # waits for the call
        seconds = time.monotonic() - begun
        if call.name not in self._called:  # it was compiled just now
            self._called.add(call.name)
            host_memory.release()
        if call.phase == plan.ADVERSARIAL and call.ends_unit:
            state = self._opened.calls["end_round"](state)
        sizes = self._experiment.sizes
        work = plan.work_of(
            call, self._schedule, sizes.length, sizes.num_train, self._experiment.models.method
        )
        values_of_each = divergence.check_metrics(
            call, work.g_updates + work.d_updates, state, self._folders, values_of_each
        )
        for run, values in zip(self._runs, values_of_each, strict=True):
            run.add({**values, "work_seconds": seconds, "work_tokens": work.tokens})
            run.progress.training_seconds += seconds
            run.progress.work = [a + b for a, b in zip(run.progress.work, work[:-1], strict=True)]
        return state, result[2] if len(result) > 2 else None

    def stop_early(
        self, state: TrainState, call: plan.Call, is_last: bool
    ) -> tuple[TrainState, bool]:
        """Keeps the best generator; goes back to it once its patience, or the phase, is over.

        Args:
          state: after an epoch of maximum likelihood; consumed.
          call: the epoch's.
          is_last: whether the phase ends with it.

        Returns:
          The next state, and whether the phase is over.
        """
        state = self._opened.calls["keep_best"](state, self._opened.test)
        over = early_stopping.is_over(state.best, self._schedule.g_patience)
        if not (is_last or bool(jnp.all(over))):
            return state, False
        state = self._opened.calls["go_back"](state)
        epochs = of_each(state.best.epoch)
        by_seed = " by seed" if len(epochs) > 1 else ""
        self._tell(
            f"maximum likelihood ends after epoch {call.unit}; lowest NLL_test after epoch "
            f"{', '.join(map(str, epochs))}{by_seed}, whose generator goes on"
        )
        return state, True

    def end(
        self,
        state: TrainState,
        call: plan.Call,
        is_last: bool,
        trained_on: LabelledBatch | None,
        progress: PhaseProgress,
    ) -> list[dict[str, Any]] | None:
        """Evaluates where it is due, and writes the unit's lines.

        Args:
          state: after the unit.
          call: its last.
          is_last: whether the phase ends with it.
          trained_on: what `run_call` gave of that call.
          progress: of the phase, where a line is shown.

        Returns:
          The metrics of each run where it has evaluated (of a d-step, the discriminator alone), or
          None.

        Raises:
          DivergedError: maximum likelihood ends with parameters that are not finite.
        """
        every = self._experiment.hparams.evaluation.eval_every
        due = call.unit == 1 or is_last or call.unit % every == 0
        ends_start = is_last and call.phase == plan.G_PRETRAIN
        lines, number = [], len(self._runs)
        # Taken apart, the state is held twice: only where somebody looks at it.
        if ends_start:
            divergence.check_state(call, state, self._folders)
        states = seeds.split(state, number) if due or ends_start else [state] * number
        judged = due and self._experiment.models.method.is_verdict and trained_on is not None
        pools = seeds.split(trained_on, number) if judged else [None] * number
        steps = of_each(state.step)
        for run, one, pool, step in zip(self._runs, states, pools, steps, strict=True):
            metrics: dict[str, Any] = run.taken()
            tokens, seconds = metrics.pop("work_tokens"), metrics.pop("work_seconds")
            metrics["tokens_per_second"] = tokens / seconds
            if number > 1:
                metrics["together"] = number
            if ends_start and one.best is not None:
                metrics["best_epoch"] = int(one.best.epoch)
            if due:
                metrics |= self._evaluated(call, one, pool)
            run.write(call.phase, call.unit, step, self._seconds(), metrics)
            lines.append(metrics)
            if ends_start:
                run.save_pretrained(one, self._seconds())
        self._show(call.phase, lines, due, ends_start, progress)
        return lines if due else None

    def _evaluated(
        self, call: plan.Call, state: TrainState, pool: LabelledBatch | None
    ) -> dict[str, float]:
        """What is measured of one run's players."""
        metrics = {} if pool is None else self._evaluator.discriminator(state, pool)
        if call.phase != plan.D_PRETRAIN:
            metrics |= self._evaluator.generator(state)
        return metrics

    def _show(
        self,
        phase: str,
        lines: list[dict[str, Any]],
        due: bool,
        ends_start: bool,
        progress: PhaseProgress,
    ) -> None:
        """The unit's line on screen, of all runs the mean, and now and then the learning curve."""
        mean = {name: float(np.mean([line[name] for line in lines])) for name in lines[0]}
        progress.line(mean, due)
        if ends_start:
            words = advice(self._experiment.hparams, mean["nll_test"])
            if words is not None:
                self._tell(words)
        if phase == plan.ADVERSARIAL:
            self._warn(lines)
        if due and hosts.is_first() and time.monotonic() - self._drawn_at >= _CURVE_SECONDS:
            for run in self._runs:
                run.draw_curve()
            self._drawn_at = time.monotonic()

    def _warn(self, lines: list[dict[str, Any]]) -> None:
        """Tells of a run's failing players, of each kind once."""
        for run, metrics in zip(self._runs, lines, strict=True):
            for kind, words in health.warnings(metrics, self._evaluator.distinct_real).items():
                if kind not in run.progress.warned:
                    run.progress.warned.append(kind)
                    seed = f"seed {run.seed}: " if len(self._runs) > 1 else ""
                    self._tell(f"warning: {seed}{words}")
