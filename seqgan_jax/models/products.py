"""Matrix products in the precision of a model: operands are rounded, sums and results are float32.

Where products are of bfloat16, so are those of their gradients, whatever the order of derivative:
the cotangent is rounded as an operand too. bfloat16 has float32's range, so no loss is scaled. The
gradient passes the rounding itself as if it were not there.
"""

from __future__ import annotations

import functools
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
    return _rounded_product("rows", left.astype(jnp.float32), right.astype(jnp.float32))


def dense_product(dtype: jnp.dtype) -> Callable[..., Array] | None:
    """`product` as the `dot_general` of a Flax layer; None, the layer's own, for float32."""
    return _dense_product if dtype == jnp.bfloat16 else None


def _dense_product(left: Array, right: Array, axes: Any, precision: Any = None) -> Array:
    if axes != (((left.ndim - 1,), (0,)), ((), ())) or precision is not None:
        raise ValueError(f"axes {axes}, precision {precision}: only those of nn.Dense are known")
    return product(left, right, jnp.dtype(jnp.bfloat16))


# Three products whose derivatives are again these three, so that none needs a transposition, which
# XLA would fold into forms that its CPU programs lack (seen of second derivatives, jax 0.10.2).
# Each takes and gives float32. Leading axes are not merged, as one may be spread over devices.

Pair = tuple[Array, Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rounded_product(kind: str, left: Array, right: Array) -> Array:
    """The product of a kind, of float32 operands that are rounded here.

    `rows`: `[..., K]` by `[K, N]` is `[..., N]`; `columns`: `[..., N]` by `[K, N]`, over N, is
    `[..., K]`; `outer`: `[..., K]` by `[..., N]`, over all leading axes, is `[K, N]`.
    """
    last, leading = left.ndim - 1, tuple(range(left.ndim - 1))
    axes = {"rows": ((last,), (0,)), "columns": ((last,), (1,)), "outer": (leading, leading)}[kind]
    return jax.lax.dot_general(
        *_rounded(left, right), (axes, ((), ())), preferred_element_type=jnp.float32
    )


def _rounded(left: Array, right: Array) -> Pair:
    return left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)


def _rounded_product_fwd(kind: str, left: Array, right: Array) -> tuple[Array, Pair]:
    # Kept rounded: half the memory, and all that the gradient multiplies.
    return _rounded_product(kind, left, right), _rounded(left, right)


def _rounded_product_bwd(kind: str, residuals: Pair, cotangent: Array) -> Pair:
    # As float32, which the next rounding gives back as they are.
    left, right = (leaf.astype(jnp.float32) for leaf in residuals)
    if kind == "rows":
        of_left, of_right = ("columns", cotangent, right), ("outer", left, cotangent)
    elif kind == "columns":
        of_left, of_right = ("rows", cotangent, right), ("outer", cotangent, left)
    else:
        of_left, of_right = ("columns", right, cotangent), ("rows", left, cotangent)
    return _rounded_product(*of_left), _rounded_product(*of_right)


_rounded_product.defvjp(_rounded_product_fwd, _rounded_product_bwd)
