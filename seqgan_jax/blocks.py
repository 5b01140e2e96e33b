"""How many rows are worked on at a time: every size that a CPU's caches decide, in one place.

Each was measured on 2 CPU cores at the paper's sizes (docs/performance.md), none on an accelerator.
They bound memory everywhere; a result does not depend on them beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from seqgan_jax.types import Array

# Sequences drawn side by side: more rows of V logits only leave the cache.
DRAWN_ROWS = 1024
# Tokens a block of the two-level inverse CDF: 25 to 200 differ by less than the noise.
DRAWN_TOKENS = 100
# Rows of [rows, V] logits held at a time where no gradient is wanted: 10 MB at V = 5000.
LIKELIHOOD_ROWS = 512
# Sequences judged at a time: all at once, the unfolded windows took 2.6 times as long (5 GB).
JUDGED_ROWS = 256

Inputs = TypeVar("Inputs")


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
