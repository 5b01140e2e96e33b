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


def draw_rates(vocab_size: int, batch_size: int) -> tuple[float, float]:
    """Tokens a second drawn from given logits by `draw_token` and by `jax.random.categorical`."""

    @jax.jit
    def ours(logits: Array, seed: int) -> Array:
        uniforms = jax.random.uniform(jax.random.key(seed), (_STEPS, batch_size))
        # Logits that differ from step to step, so that no step's work is shared.
        return jax.lax.map(lambda uniform: draw_token(logits + uniform[0], uniform), uniforms)

    @jax.jit
    def theirs(logits: Array, seed: int) -> Array:
        keys = jax.random.split(jax.random.key(seed), _STEPS)
        return jax.lax.map(lambda one: jax.random.categorical(one, logits), keys)

    logits = 3.0 * jax.random.normal(jax.random.key(0), (batch_size, vocab_size))
    tokens = batch_size * _STEPS
    ours_seconds = seconds(functools.partial(ours, logits, 1))
    theirs_seconds = seconds(functools.partial(theirs, logits, 1))
    return tokens / ours_seconds, tokens / theirs_seconds


def token_draws(vocab_size: int, batch_sizes: Sequence[int]) -> rich.table.Table:
    """Tokens drawn a second from given logits: `draw_token` beside `jax.random.categorical`."""
    table = rich.table.Table(
        title=f"tokens/s, V = {vocab_size}, {jax.devices()[0].device_kind}, median of {_RUNS}"
    )
    for title in ("B", "draw_token", "jax.random.categorical", "ratio"):
        table.add_column(title, justify="right")
    for batch_size in batch_sizes:
        ours, theirs = draw_rates(vocab_size, batch_size)
        table.add_row(f"{batch_size}", f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.1f}")
    return table
