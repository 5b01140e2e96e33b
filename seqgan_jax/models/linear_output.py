"""The linear layer from features to logits, and what keeps their exponentials finite.

At V = 5000 a row's maximum costs as much as a third of the exponentials, and the bias another pass;
both are passed over here, and log-sum-exp is 1.5 times as fast for it (docs/performance.md).

Features of bfloat16 are multiplied in bfloat16 and summed in float32; logits are float32 always.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax import mesh
from seqgan_jax.models.products import product
from seqgan_jax.types import Array, LanguageModel, Params

_LARGEST_EXPONENT = math.log(float(np.finfo(np.float32).max))


class LinearOutput(NamedTuple):
    """A kernel with its bias as more rows, and a bound on what it makes of features."""

    kernel: Array  # [H + 1, V]; of bfloat16 [H + 2, V]
    longest: Array  # scalar float32, the largest norm of a column


def linear_output(kernel: Array, bias: Array, dtype: jnp.dtype | None = None) -> LinearOutput:
    """From a kernel `[H, V]` and a bias `[V]`; once a call, outside its loops.

    Args:
      kernel: of the layer.
      bias: likewise.
      dtype: that of the features it will meet; the kernel's own by default.
    """
    rows = [kernel, bias[None, :]]
    if dtype == jnp.bfloat16:
        # The bias, which nothing multiplies, keeps 16 bits: its rounding, and what that left over.
        rounded = bias.astype(jnp.bfloat16)
        rest = bias - rounded.astype(bias.dtype)
        rows = [leaf.astype(dtype) for leaf in (kernel, rounded[None, :], rest[None, :])]
    both = jnp.concatenate(rows)
    squares = jnp.square(both.astype(jnp.float32))
    return LinearOutput(both, jnp.sqrt(jnp.max(jnp.sum(squares, axis=0))))


def linear_logits(features: Array, kernel: Array, bias: Array) -> Array:
    """`features @ kernel + bias`, in one piece: `[..., H]`, `[H, V]` and `[V]` give `[..., V]`.

    The product is that of `shifted_logits`; the bias is added with all its bits.
    """
    leading = tuple(range(features.ndim - 1))
    return product(features, kernel, features.dtype) + jnp.expand_dims(bias, leading)


def features_dtype(language_model: LanguageModel, params: Params) -> jnp.dtype:
    """The dtype of the features that meet a model's output layer."""
    if language_model.features is None:
        return jnp.dtype(jnp.float32)
    state = jax.eval_shape(lambda params: language_model.initial_state(params, 1), params)
    token = jax.ShapeDtypeStruct((1,), jnp.int32)
    return jnp.dtype(jax.eval_shape(language_model.features, params, state, token)[1].dtype)


def with_ones(features: Array) -> Array:
    """Features `[R, H]` and a 1 for each row of the kernel that holds the bias."""
    number = 2 if features.dtype == jnp.bfloat16 else 1
    ones = jnp.ones((features.shape[0], number), features.dtype)
    return jnp.concatenate([features, ones], axis=1)


def shifted_logits(features: Array, kernel: Array, longest: Array) -> tuple[Array, Array]:
    """Logits, and what to take off each row before its exponentials are summed.

    No logit exceeds the product of the features' and the column's norms (Cauchy and Schwarz). While
    that bound says that neither an exponential nor a sum of V of them can overflow, and none of a
    row's largest can vanish, nothing is subtracted; beyond it, the row's maximum.

    Args:
      features: `[R, H]`.
      kernel: of a `LinearOutput`, or of a part of its columns.
      longest: of the `LinearOutput`.

    Returns:
      The logits `[R, V]` and the shift `[R]`, float32; sums of `exp(logits - shift)` are finite.
    """
    rows = with_ones(features)
    logits = jnp.matmul(rows, kernel, preferred_element_type=jnp.float32)
    norms = jnp.sum(jnp.square(rows.astype(jnp.float32)), axis=1)
    bound = longest * jnp.sqrt(jnp.max(norms))
    # A NaN in the bound is not below it, so that NaN takes the careful way too.
    vocab_size = logits.shape[1] * mesh.parts()
    harmless = bound < _LARGEST_EXPONENT - math.log(vocab_size) - 1.0
    shift = jax.lax.cond(
        harmless, lambda x: jnp.zeros_like(x[:, 0]), lambda x: x.max(axis=1), logits
    )
    return logits, shift
