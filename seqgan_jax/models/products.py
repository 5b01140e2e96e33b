"""Matrix products in the precision of a model: operands are rounded, sums and results are float32.

Where products are of bfloat16, so are those of their gradients, whatever the order of derivative:
the cotangent is rounded as an operand too. bfloat16 has float32's range, so no loss is scaled. The
gradient passes the rounding itself as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax.hparams import PRECISIONS
from seqgan_jax.types import Array


def products_dtype(precision: str) -> np.dtype:
    """The dtype of a model's products.

    Raises:
      ValueError: the precision is none of `hparams.PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}: must be one of {', '.join(PRECISIONS)}")
    return jnp.dtype(precision)


def product(left: Array, right: Array, dtype: jnp.dtype | None) -> Array:
    """`left @ right`, of operands rounded to a dtype.

    Args:
      left: `[..., K]`.
      right: `[K, N]`.
      dtype: bfloat16; with any other, or None, the product is the plain one.

    Returns:
      `[..., N]`, summed in float32. Gradients have the operands' dtypes.
    """
    if dtype != jnp.bfloat16:
        return left @ right
    return _rounded_product(left.astype(jnp.float32), right.astype(jnp.float32))


def dense_product(dtype: jnp.dtype) -> Callable[..., Array] | None:
    """`product` as the `dot_general` of a Flax layer; None, the layer's own, for float32."""
    return _dense_product if dtype == jnp.bfloat16 else None


def _dense_product(left: Array, right: Array, axes: Any, precision: Any = None) -> Array:
    if axes != (((left.ndim - 1,), (0,)), ((), ())) or precision is not None:
        raise ValueError(f"axes {axes}, precision {precision}: only those of nn.Dense are known")
    return product(left, right, jnp.dtype(jnp.bfloat16))


# Two products whose derivatives are again these two: rows by a matrix, and rows by rows. Each takes
# and gives float32, and is written for any leading axes, so that none that is spread over devices
# has to be merged with another.

Pair = tuple[Array, Array]


def _rounded(left: Array, right: Array) -> Pair:
    return left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)


def _widened(residuals: Pair) -> Pair:
    """Rounded operands as float32, which the next rounding gives back as they are."""
    return residuals[0].astype(jnp.float32), residuals[1].astype(jnp.float32)


@jax.custom_vjp
def _rounded_product(left: Array, right: Array) -> Array:
    """`[..., K]` by `[K, N]`: `[..., N]`."""
    return jnp.matmul(*_rounded(left, right), preferred_element_type=jnp.float32)


def _rounded_product_fwd(left: Array, right: Array) -> tuple[Array, Pair]:
    # Kept rounded: half the memory, and all that the gradient multiplies.
    return _rounded_product(left, right), _rounded(left, right)


def _rounded_product_bwd(residuals: Pair, cotangent: Array) -> Pair:
    left, right = _widened(residuals)
    return _rounded_product(cotangent, right.T), _rounded_outer(left, cotangent)


_rounded_product.defvjp(_rounded_product_fwd, _rounded_product_bwd)


@jax.custom_vjp
def _rounded_outer(left: Array, right: Array) -> Array:
    """`[..., K]` by `[..., N]`, summed over all leading axes: `[K, N]`."""
    leading = tuple(range(left.ndim - 1))
    return jax.lax.dot_general(
        *_rounded(left, right), ((leading, leading), ((), ())), preferred_element_type=jnp.float32
    )


def _rounded_outer_fwd(left: Array, right: Array) -> tuple[Array, Pair]:
    return _rounded_outer(left, right), _rounded(left, right)


def _rounded_outer_bwd(residuals: Pair, cotangent: Array) -> Pair:
    left, right = _widened(residuals)
    return _rounded_product(right, cotangent.T), _rounded_product(left, cotangent)


_rounded_outer.defvjp(_rounded_outer_fwd, _rounded_outer_bwd)
