"""Looks tokens up in an embedding, be they ids or distributions."""

from __future__ import annotations

import jax.numpy as jnp

from seqgan_jax.types import Array


def look_up(table: Array, tokens: Array) -> Array:
    """Rows of a table `[V, E]` at ids `[...]`, or mixed by distributions `[..., V]`: `[..., E]`."""
    if jnp.issubdtype(tokens.dtype, jnp.integer):
        return table[tokens]
    return tokens @ table
