"""The linear layer from features to logits, and what keeps their exponentials finite.

At V = 5000 a row's maximum costs as much as a third of the exponentials, and the bias another pass;
both are passed over here, and log-sum-exp is 1.5 times as fast for it (docs/performance.md).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax.types import Array

_LARGEST_EXPONENT = math.log(float(np.finfo(np.float32).max))


class LinearOutput(NamedTuple):
    """A kernel with its bias as one more row, and a bound on what it makes of features."""

    kernel: Array  # [H + 1, V]
    longest: Array  # scalar, the largest norm of a column


def linear_output(kernel: Array, bias: Array) -> LinearOutput:
    """From a kernel `[H, V]` and a bias `[V]`; once a call, outside its loops."""
    both = jnp.concatenate([kernel, bias[None, :]])
    return LinearOutput(both, jnp.sqrt(jnp.max(jnp.sum(jnp.square(both), axis=0))))


def with_one(features: Array) -> Array:
    """Features `[R, H]` and a 1 that meets the bias, `[R, H + 1]`."""
    return jnp.concatenate([features, jnp.ones_like(features[:, :1])], axis=1)


def shifted_logits(features: Array, output: LinearOutput) -> tuple[Array, Array]:
    """Logits, and what to take off each row before its exponentials are summed.

    No logit exceeds the product of the features' and the column's norms (Cauchy and Schwarz). While
    that bound says that neither an exponential nor a sum of V of them can overflow, and none of a
    row's largest can vanish, nothing is subtracted; beyond it, the row's maximum.

    Args:
      features: `[R, H]`.
      output: the layer.

    Returns:
      The logits `[R, V]` and the shift `[R]`; sums of `exp(logits - shift)` are finite.
    """
    rows = with_one(features)
    logits = rows @ output.kernel
    bound = output.longest * jnp.sqrt(jnp.max(jnp.sum(jnp.square(rows), axis=1)))
    # A NaN in the bound is not below it, so that NaN takes the careful way too.
    harmless = bound < _LARGEST_EXPONENT - math.log(logits.shape[1]) - 1.0
    shift = jax.lax.cond(
        harmless, lambda x: jnp.zeros_like(x[:, 0]), lambda x: x.max(axis=1), logits
    )
    return logits, shift
