"""How many rows are worked on at a time: every size that a CPU's caches decide, in one place.

Each was measured on 2 CPU cores at the paper's sizes (docs/performance.md), none on an accelerator.
They bound memory everywhere; a result does not depend on them beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from seqgan_jax.types import Array

# Sequences drawn side by side: more rows of V logits only leave the cache.
DRAWN_ROWS = 1024
# Tokens a block of the two-level inverse CDF: 25 to 200 differ by less than the noise.
DRAWN_TOKENS = 100
# Rows of [rows, V] logits held at a time where no gradient is wanted: 10 MB at V = 5000.
LIKELIHOOD_ROWS = 512
# Rows taken together where some are behind their sequence's end: blocks of such are passed over.
LIVE_ROWS = 256
# Logits that a gradient keeps the exponentials of, 256 MB; of more it takes them again, in blocks.
GRADIENT_LOGITS = 2**26
# Logits that a draw holds at a time, where V is so large that DRAWN_ROWS would hold more: 256 MB.
DRAWN_LOGITS = 2**26
# Sequences judged at a time: all at once, the unfolded windows took 2.6 times as long (5 GB).
JUDGED_ROWS = 256

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")


def map_rows(function: Callable[[Inputs], Array], inputs: Inputs, most_rows: int) -> Array:
    """Applies a function of rows to blocks of them, one block after another.

    Args:
      function: maps a pytree of arrays `[rows, ...]` to `[rows, ...]`, each row by itself.
      inputs: a pytree of arrays `[R, ...]`.
      most_rows: rows a block at most. Blocks are of one size, padded by zeros.

    Returns:
      `function(inputs)`, `[R, ...]`; only one block of intermediate results is ever held.
    """
    num_rows = jax.tree.leaves(inputs)[0].shape[0]
    num_blocks = max(1, -(-num_rows // most_rows))
    if num_blocks == 1:
        return function(inputs)
    rows = -(-num_rows // num_blocks)

    def split(leaf: Array) -> Array:
        missing = num_blocks * rows - num_rows
        padded = jnp.pad(leaf, ((0, missing), *[(0, 0)] * (leaf.ndim - 1)))
        return padded.reshape(num_blocks, rows, *leaf.shape[1:])

    blocks = jax.lax.map(function, jax.tree.map(split, inputs))
    return blocks.reshape(num_blocks * rows, *blocks.shape[2:])[:num_rows]


def drawn_rows(vocab_size: int) -> int:
    """Rows whose V logits a draw holds at a time."""
    return max(1, min(DRAWN_ROWS, DRAWN_LOGITS // vocab_size))


class LiveBlocks(NamedTuple):
    """Rows in blocks, the live ones first, so that what is behind them can be passed over."""

    rows: (
        Array  # [blocks, rows a block] which row stands where; what follows the live ones is row 0
    )
    is_live: Array  # [blocks] bool: whether a block holds a live row
    place: Array  # [R] where a live row stands among the blocks' rows
    live: Array  # [R] bool


def live_blocks(live: Array, most_rows: int = LIVE_ROWS) -> LiveBlocks:
    """Packs the live ones of R rows into as few blocks of `most_rows` as they fill.

    Args:
      live: `[R]` bool.
      most_rows: rows a block.
    """
    num_rows = live.shape[0]
    size = min(most_rows, num_rows)
    num_blocks = -(-num_rows // size)
    rows = jnp.flatnonzero(live, size=num_blocks * size, fill_value=0)
    begins = jnp.arange(num_blocks) * size
    place = jnp.maximum(jnp.cumsum(live) - 1, 0)
    return LiveBlocks(rows.reshape(num_blocks, size), begins < live.sum(), place, live)


def map_live(function: Callable[[Inputs], Outputs], inputs: Inputs, blocks: LiveBlocks) -> Outputs:
    """Applies a function of rows to every block that holds a live row; elsewhere zeros.

    Args:
      function: maps a pytree of arrays `[rows, ...]` to one of `[rows, ...]`.
      inputs: a pytree of arrays `[R, ...]`.
      blocks: of the R rows.

    Returns:
      The results in the order of the blocks, `[blocks, rows a block, ...]`.
    """

    def picked(rows: Array) -> Inputs:
        return jax.tree.map(lambda leaf: leaf[rows], inputs)

    shapes = jax.eval_shape(lambda rows: function(picked(rows)), blocks.rows[0])

    def block(pair: tuple[Array, Array]) -> Outputs:
        rows, is_live = pair
        return jax.lax.cond(
            is_live,
            lambda: function(picked(rows)),
            lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes),
        )

    return jax.lax.map(block, (blocks.rows, blocks.is_live))


def in_place(results: Array, blocks: LiveBlocks) -> Array:
    """Results of `map_live`, `[blocks, rows, ...]`, back in the rows' order `[R, ...]`; else 0."""
    flat = results.reshape(-1, *results.shape[2:])[blocks.place]
    live = blocks.live.reshape(-1, *[1] * (flat.ndim - 1))
    return jnp.where(live, flat, jnp.zeros((), flat.dtype))
