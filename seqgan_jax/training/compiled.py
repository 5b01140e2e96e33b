"""The calls that a run is made of, each compiled once, for one seed or for several side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from seqgan_jax.data_hparams import DataSizes
from seqgan_jax.hparams import ScheduleHParams
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import early_stopping, epochs, seeds
from seqgan_jax.training.experiment import Models
from seqgan_jax.training.sharding import Layout
from seqgan_jax.types import Array, Samples


def compile_calls(
    schedule: ScheduleHParams,
    models: Models,
    sizes: DataSizes,
    num_seeds: int = 1,
    layout: Layout | None = None,
) -> dict[str, Callable[..., Any]]:
    """The calls that a plan names and those between them, jitted.

    Args:
      schedule: of the run.
      models: of the run.
      sizes: of the data; rows beyond `num_train` are not learnt from.
      num_seeds: S; above 1, states and what a call returns have a leading axis of seeds, and one
        computation trains them all. Data have no such axis.
      layout: of the devices, whose mesh is the ambient one when a call is made.

    Returns:
      By name, `(state, real sequences) -> (state, metrics, ...)` for those of a plan;
      `keep_best`, `(state, held-out sequences) -> state`; and `end_round` and `go_back`,
      `state -> state`. Each consumes the state that it is given.
    """
    calls = _calls(schedule, models, sizes)
    if num_seeds > 1:
        spread = layout is not None and layout.spreads_seeds
        calls = {name: seeds.over_seeds(call, spread=spread) for name, call in calls.items()}
    if layout is not None and layout.mesh is not None:
        calls = {name: _laid_out(call, layout, num_seeds > 1) for name, call in calls.items()}
    return {name: jax.jit(call, donate_argnums=0) for name, call in calls.items()}


def _calls(
    schedule: ScheduleHParams, models: Models, sizes: DataSizes
) -> dict[str, Callable[..., Any]]:
    """The calls for one seed, not jitted."""
    method, num_rows = models.method, sizes.num_train

    def negatives(state: TrainState, key: Array, number: int) -> Samples:
        return sample(
            models.language_model, state.generator, key,
            batch_size=number, length=sizes.length,
        )  # fmt: skip

    with_data: dict[str, Callable[..., Any]] = {
        "pretrain_generator_epoch": functools.partial(
            epochs.pretrain_generator_epoch, method=method, num_rows=num_rows,
            batch_size=schedule.batch_size,
        ),
        "generator_steps": functools.partial(
            epochs.generator_steps, method=method, num_rows=num_rows,
            num_steps=schedule.g_steps, batch_size=schedule.batch_size,
        ),
        "discriminator_epochs": functools.partial(
            epochs.discriminator_epochs, method=method, sampler=negatives, num_rows=num_rows,
            num_samples=schedule.d_samples, num_epochs=schedule.d_epochs,
            batch_size=schedule.d_batch_size,
        ),
        "keep_best": functools.partial(
            early_stopping.keep_best,
            language_model=models.language_model, patience=schedule.g_patience,
        ),
    }  # fmt: skip
    # Wrapped, since jit keeps what it compiles by function: these stand for all runs of a process.
    alone: dict[str, Callable[..., Any]] = {
        "end_round": functools.partial(method.end_round),
        "go_back": functools.partial(early_stopping.go_back),
    }
    return with_data | alone


def _laid_out(call: Callable[..., Any], layout: Layout, stacked: bool) -> Callable[..., Any]:
    """The call with its state where it was, and metrics that every process can read."""

    def laid_out(state: TrainState, *data: Any) -> Any:
        result = call(state, *data)
        if not isinstance(result, tuple):
            return layout.constrained(result, stacked)
        state, metrics, *pools = result
        return layout.constrained(state, stacked), layout.everywhere(metrics), *pools

    return laid_out
