"""Baselines: what is taken from action values to make their gradient less noisy."""

from __future__ import annotations

import jax.numpy as jnp

from seqgan_jax.types import Array


def batch_mean(action_values: Array, mask: Array) -> Array:
    """Mean over the batch at each position, a sequence's own value included; ended ones count as 0.

    Because its own value is included, it scales the expected gradient by (B - 1) / B. It does not
    turn it, also where sequences have ended: B is the whole batch, the same at every position.

    Args:
      action_values: Q. `[B, T]`.
      mask: `[B, T]` bool.

    Returns:
      The baseline of every position. `[B, T]`.
    """
    total = jnp.where(mask, action_values, 0.0).sum(axis=0, keepdims=True)
    return jnp.broadcast_to(total / mask.shape[0], action_values.shape)


def leave_one_out(action_values: Array, mask: Array) -> Array:
    """Mean over the other sequences at each position: unbiased (arXiv 1909.12473, RLOO).

    Args:
      action_values: Q. `[B, T]`, B >= 2.
      mask: `[B, T]` bool.

    Returns:
      The baseline; 0 where no other sequence is alive. `[B, T]`.
    """
    kept = jnp.where(mask, action_values, 0.0)
    others = jnp.maximum(mask.sum(axis=0, keepdims=True) - mask, 1)
    return (kept.sum(axis=0, keepdims=True) - kept) / others


def prefix(action_values: Array, mask: Array) -> Array:
    """The value of the prefix before each token, as Monte Carlo search already found it.

    Q of the token before is the mean reward of completions of Y_1:t-1, drawn without regard to y_t,
    so it turns no gradient: an estimate of V(Y_1:t-1) under the rollout policy (the same idea for
    language models: VinePPO, arXiv 2410.01679). What a sequence's past earned or lost is no longer
    held against its next token. The first token has no prefix: `leave_one_out` stands in.

    Args:
      action_values: Q. `[B, T]`, B >= 2.
      mask: `[B, T]` bool.

    Returns:
      The baseline. `[B, T]`.
    """
    first = leave_one_out(action_values[:, :1], mask[:, :1])
    return jnp.concatenate([first, action_values[:, :-1]], axis=1)


def update_moving_average(average: Array, rewards: Array, decay: float) -> Array:
    """Exponential moving average of the mean reward; starts at the first mean it sees.

    Args:
      average: of the steps before. Scalar, not finite before the first.
      rewards: of finished sequences. `[B]`.
      decay: weight of the past.

    Returns:
      The new average. It is used from the next step on, so it does not depend on the actions it
      is taken from and stays unbiased.
    """
    mean = rewards.mean()
    return jnp.where(jnp.isfinite(average), decay * average + (1.0 - decay) * mean, mean)
