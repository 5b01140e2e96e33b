"""Benchmarks: medians of several runs, as ratios to something measured in the same process."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import rich.table

from seqgan_jax.search.sampling import draw_token
from seqgan_jax.types import Array

_RUNS = 7
_STEPS = 20  # draws in one compiled call, as in a sequence of T = 20


def seconds(function: Callable[[], Any]) -> float:
    """Median wall time of a call, after one that compiles."""
    jax.block_until_ready(function())
    times = []
    for _ in range(_RUNS):
        begun = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def token_draws(vocab_size: int, batch_sizes: Sequence[int]) -> rich.table.Table:
    """Tokens drawn a second from given logits: `draw_token` beside `jax.random.categorical`."""

    @jax.jit
    def ours(logits: Array, key: Array) -> Array:
        uniforms = jax.random.uniform(key, (_STEPS, logits.shape[0]))
        return jax.lax.map(lambda uniform: draw_token(logits + uniform[0], uniform), uniforms)

    @jax.jit
    def theirs(logits: Array, key: Array) -> Array:
        keys = jax.random.split(key, _STEPS)
        return jax.lax.map(lambda one: jax.random.categorical(one, logits), keys)

    table = rich.table.Table(
        title=f"tokens/s, V = {vocab_size}, {jax.devices()[0].device_kind}, median of {_RUNS}"
    )
    for title in ("B", "draw_token", "jax.random.categorical", "ratio"):
        table.add_column(title, justify="right")
    logits_key, draw_key = jax.random.split(jax.random.key(0))
    for batch_size in batch_sizes:
        logits = 3.0 * jax.random.normal(logits_key, (batch_size, vocab_size))
        rates = [
            batch_size * _STEPS / seconds(functools.partial(draw, logits, draw_key))
            for draw in (ours, theirs)
        ]
        cells = [batch_size, *(f"{rate:,.0f}" for rate in rates), f"{rates[0] / rates[1]:.1f}"]
        table.add_row(*map(str, cells))
    return table
