"""Losses: arrays in, a scalar out; no parameters, no keys."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import optax

from seqgan_jax.types import Array


def masked_mean(values: Array, mask: Array | None = None) -> Array:
    """Mean of `values` over the positions where `mask`, of the same shape, is True."""
    if mask is None:
        return values.mean()
    chex.assert_equal_shape([values, mask])
    return jnp.where(mask, values, 0.0).sum() / jnp.maximum(mask.sum(), 1)


def mle_loss(log_probs: Array, mask: Array | None = None) -> Array:
    """Negative log-likelihood per token, in nats.

    Args:
      log_probs: `log G(y_t | Y_1:t-1)` of real sequences. `[B, T]`.
      mask: `[B, T]` bool, True for real tokens; None for all.

    Returns:
      Scalar: the mean over real tokens.
    """
    chex.assert_rank(log_probs, 2)
    return -masked_mean(log_probs, mask)


def policy_gradient_loss(
    log_probs: Array, action_values: Array, mask: Array | None = None
) -> Array:
    """Surrogate whose gradient is the negative policy gradient (arXiv 1609.05473, Eq. 6-8).

    The generator maximises the expected reward J = E[reward(Y_1:T)] (Eq. 1), whose gradient is
    E[sum_t Q_t grad log G(y_t | Y_1:t-1)] (Eq. 6-7), here by samples (Eq. 8), in the sum form of
    the paper's code: `-sum_b sum_t log G(y_t | Y_1:t-1) Q_t`.

    Args:
      log_probs: of sequences drawn from the generator, differentiable. `[B, T]`.
      action_values: Q, or an advantage. No gradient flows through it. `[B, T]`.
      mask: `[B, T]` bool, True for real tokens; None for all.

    Returns:
      Scalar: the sum over batch and time.
    """
    chex.assert_rank([log_probs, action_values], 2)
    chex.assert_equal_shape([log_probs, action_values])
    if mask is not None:
        # Before the product: 0 times a NaN behind the end would reach the gradient.
        action_values = jnp.where(mask, action_values, 0.0)
        log_probs = jnp.where(mask, log_probs, 0.0)
    return -(log_probs * jax.lax.stop_gradient(action_values)).sum()


def discriminator_loss(logits: Array, labels: Array) -> Array:
    """Cross-entropy of real against generated (arXiv 1609.05473, Eq. 5).

    -E[log D(Y)] over real Y, -E[log(1 - D(Y))] over generated ones, D = sigmoid(logit).

    Args:
      logits: of the probability of being real. `[B]`.
      labels: 1 for real, 0 for generated. `[B]`.

    Returns:
      Scalar: the mean over the batch, in nats.
    """
    chex.assert_rank([logits, labels], 1)
    chex.assert_equal_shape([logits, labels])
    return optax.sigmoid_binary_cross_entropy(logits, labels).mean()
