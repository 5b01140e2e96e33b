"""Early stopping of maximum likelihood: the generator of lowest NLL on held-out data goes on.

Without it, maximum likelihood is as weak a baseline as its number of epochs is ill chosen.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqgan_jax.hparams import ScheduleHParams
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.state import TrainState
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.types import Array, LanguageModel, Params, Samples


class Best(NamedTuple):
    """The best generator so far, and its optimiser."""

    generator: Params
    mle_opt_state: Params
    nll: Array  # scalar, NLL_test, nats per token
    epoch: Array  # scalar int32, 1-based; 0 before the first
    epochs: Array  # scalar int32, epochs seen, the ones that came too late not counted


def initial_state(method: Method, schedule: ScheduleHParams, key: Array) -> TrainState:
    """A method's fresh state, with room for the best generator where `g_patience` asks for it."""
    state = method.init_state(key)
    if schedule.g_patience == 0:
        return state
    best = Best(
        jax.tree.map(jnp.copy, state.generator),
        jax.tree.map(jnp.copy, state.mle_opt_state),
        # Of a dtype of its own, not Python's, or the second call is traced anew.
        jnp.full((), jnp.inf, jnp.float32),
        *jnp.zeros((2,), jnp.int32),
    )
    return dataclasses.replace(state, best=best)


def keep_best(
    state: TrainState, heldout: Samples, *, language_model: LanguageModel, patience: int
) -> TrainState:
    """Notes an epoch's end: keeps the generator if its NLL on held-out data is the lowest.

    Args:
      state: with `best`.
      heldout: real sequences that are not learnt from, `[R, T]`.
      language_model: the generator.
      patience: epochs; as many as are planned keep the best of them all. What comes later than that
        after the best is not looked at, so that a run beside others that go on keeps the generator
        that it would alone.

    Returns:
      The state with its `best` brought up to date.
    """
    best: Best = state.best
    in_time = ~is_over(best, patience)
    nll = negative_log_likelihood(language_model, state.generator, heldout)
    epoch = best.epochs + 1
    found = Best(state.generator, state.mle_opt_state, nll, epoch, epoch)
    better = in_time & (nll < best.nll)
    kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), found, best)
    kept = kept._replace(epochs=jnp.where(in_time, epoch, best.epochs))
    return dataclasses.replace(state, best=kept)


def is_over(best: Best, patience: int) -> Array:
    """Whether `patience` epochs have passed without a lower NLL. Scalar bool, or one a seed."""
    return best.epochs - best.epoch >= patience


def go_back(state: TrainState) -> TrainState:
    """The best generator in place of the last, as the rollout policy too, and its optimiser."""
    return dataclasses.replace(
        state,
        generator=jax.tree.map(jnp.copy, state.best.generator),
        rollout=jax.tree.map(jnp.copy, state.best.generator),
        mle_opt_state=jax.tree.map(jnp.copy, state.best.mle_opt_state),
    )
