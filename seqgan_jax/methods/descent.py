"""One step of either player down its loss: gradient, optimiser, new parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import optax

from seqgan_jax.methods.state import TrainState
from seqgan_jax.types import Array, Metrics, Params

# Maps a player's parameters to its loss, and to metrics: scalars.
LossOf = Callable[[Params], tuple[Array, Metrics]]


def generator(
    state: TrainState, loss_of: LossOf, optimizer: optax.GradientTransformation
) -> tuple[TrainState, Metrics]:
    """One step of the generator.

    Args:
      state: the training state.
      loss_of: `params -> (loss, metrics)`.
      optimizer: the one that `state.g_opt_state` is of.

    Returns:
      The next state, and the metrics with `g_loss` and `g_grad_norm` (before clipping) beside them.
    """
    (loss, metrics), grads = jax.value_and_grad(loss_of, has_aux=True)(state.generator)
    updates, opt_state = optimizer.update(grads, state.g_opt_state, state.generator)
    state = dataclasses.replace(
        state,
        step=state.step + 1,
        generator=optax.apply_updates(state.generator, updates),
        g_opt_state=opt_state,
    )
    return state, {"g_loss": loss, "g_grad_norm": optax.tree.norm(grads), **metrics}


def discriminator(
    state: TrainState, loss_of: LossOf, optimizer: optax.GradientTransformation
) -> tuple[TrainState, Metrics]:
    """One step of the discriminator.

    Args:
      state: the training state.
      loss_of: `params -> (loss, metrics)`.
      optimizer: the one that `state.d_opt_state` is of.

    Returns:
      The next state, and the metrics with `d_grad_norm` beside them.
    """
    grads, metrics = jax.grad(loss_of, has_aux=True)(state.discriminator)
    updates, opt_state = optimizer.update(grads, state.d_opt_state, state.discriminator)
    state = dataclasses.replace(
        state,
        step=state.step + 1,
        discriminator=optax.apply_updates(state.discriminator, updates),
        d_opt_state=opt_state,
    )
    return state, {**metrics, "d_grad_norm": optax.tree.norm(grads)}
