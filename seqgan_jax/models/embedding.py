"""Looks tokens up in an embedding, be they ids or distributions."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqgan_jax import mesh
from seqgan_jax.models.products import product
from seqgan_jax.types import Array


def look_up(table: Array, tokens: Array, dtype: jnp.dtype | None = None) -> Array:
    """Rows of a table `[V, E]` at ids `[...]`, or mixed by distributions `[..., V]`: `[..., E]`.

    Of a table spread along the vocabulary, ids cost an exchange of `[..., E]`. The mixing is a
    `product` of the dtype; at ids rows are as they stand, float32.
    """
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        return product(tokens, table, dtype)
    if mesh.shards(mesh.MODEL) == 1:
        return table[tokens]
    return _spread_rows(table, tokens)


@jax.custom_vjp  # or the gradient, whose rows each device has, would be exchanged once more
def _spread_rows(table: Array, tokens: Array) -> Array:
    def of_part(part: Array, tokens: Array) -> Array:
        place, mine = _place(part.shape[0], tokens)
        return mesh.vocabulary_sum(jnp.where(mine[..., None], part[place], 0.0))

    return mesh.over_vocabulary(of_part, (0, None), None)(table, tokens)


def _spread_rows_fwd(table: Array, tokens: Array) -> tuple[Array, tuple[Array, Array]]:
    return _spread_rows(table, tokens), (table, tokens)


def _spread_rows_bwd(residuals: tuple[Array, Array], cotangent: Array) -> tuple[Array, None]:
    def of_part(part: Array, tokens: Array, cotangent: Array) -> Array:
        place, mine = _place(part.shape[0], tokens)
        return jnp.zeros_like(part).at[place].add(jnp.where(mine[..., None], cotangent, 0.0))

    return mesh.over_vocabulary(of_part, (0, None, None), 0)(*residuals, cotangent), None


_spread_rows.defvjp(_spread_rows_fwd, _spread_rows_bwd)


def _place(size: int, tokens: Array) -> tuple[Array, Array]:
    """Where in a part of `size` rows the tokens' stand, and whether they do."""
    place = tokens - mesh.first_token(size)
    return jnp.clip(place, 0, size - 1), (place >= 0) & (place < size)
