"""What several seeds in one computation cost, beside as many runs of one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import rich.table

from seqgan_jax.benchmark import phases, timing
from seqgan_jax.hparams import HParams
from seqgan_jax.training import epochs, experiment, seeds
from seqgan_jax.training.experiment import Models

_EPOCH_STEPS = 20  # of maximum likelihood, whose batches an epoch shuffles


class Row(NamedTuple):
    """A call of one seed, and of several in both ways."""

    name: str
    alone: float  # seconds
    vectorised: float
    in_turn: float


def calls(hparams: HParams, models: Models) -> dict[str, tuple[Callable[..., Any], int]]:
    """`(state, data) -> (state, metrics)` by name, and the sequences that it is to be given."""
    batch_size = hparams.schedule.batch_size

    def epoch(state: Any, data: Any) -> Any:
        return epochs.pretrain_generator_epoch(
            state, data, method=models.method, batch_size=batch_size
        )

    def g_step(state: Any, data: Any) -> Any:
        return models.method.generator_step(state, data)

    return {
        f"{_EPOCH_STEPS} MLE steps": (epoch, _EPOCH_STEPS * batch_size),
        "g-step": (g_step, batch_size),
    }


def measure(hparams: HParams, num_seeds: int, runs: int) -> Iterator[Row]:
    """Times each call, the three ways one after another."""
    models = experiment.build_models(hparams)

    def several() -> Any:
        keys = jax.random.split(jax.random.key(0), num_seeds)
        return jax.jit(jax.vmap(models.method.init_state))(keys)

    for name, (call, number) in calls(hparams, models).items():
        data = phases.sequences_of(hparams, number)
        alone = timing.measure(call, phases.init_state(models), data, runs)
        ways = [
            timing.measure(seeds.over_seeds(call, vmapped), several(), data, runs)
            for vmapped in (True, False)
        ]
        yield Row(name, alone.seconds, *(way.seconds for way in ways))


def table(hparams: HParams, num_seeds: int, runs: int) -> rich.table.Table:
    """A row a call; ratios are to as many calls of one seed."""
    result = rich.table.Table(title=f"{num_seeds} seeds in one computation, beside one alone")
    result.add_column("call")
    for title in ("one, s", "vectorised, s", "ratio", "in turn, s", "ratio"):
        result.add_column(title, justify="right")
    for row in measure(hparams, num_seeds, runs):
        apart = num_seeds * row.alone
        cells = [f"{row.alone:.3f}"]
        for seconds in (row.vectorised, row.in_turn):
            cells += [f"{seconds:.3f}", f"{seconds / apart:.2f}"]
        result.add_row(row.name, *cells)
    return result
