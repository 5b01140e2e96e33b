"""Compile seconds, median seconds and memory of a call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Timing(NamedTuple):
    """What one compiled call takes."""

    seconds: float  # median of the runs
    compile_seconds: float  # tracing, lowering and compiling, nothing cached
    memory_bytes: int  # arguments, results and temporaries that the call holds


def median_seconds(function: Callable[[], Any], runs: int) -> float:
    """Median wall time of `runs` calls, after one that warms up."""
    jax.block_until_ready(function())
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def compile_call(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[jax.stages.Compiled, float, int]:
    """Compiles a call that consumes its first argument, as the training loop does.

    Args:
      function: traced with `arguments`.
      arguments: pytrees of arrays.

    Returns:
      The compiled call, the seconds that took, and the bytes it holds while it runs.
    """
    begun = time.perf_counter()
    compiled = jax.jit(function, donate_argnums=0).lower(*arguments).compile()
    seconds = time.perf_counter() - begun
    sizes: Any = compiled.memory_analysis()
    held = (
        sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        - sizes.alias_size_in_bytes
        + sizes.temp_size_in_bytes
    )
    return compiled, seconds, held


def measure(function: Callable[..., Any], carry: Any, inputs: Any, runs: int) -> Timing:
    """Times `function(carry, inputs) -> (carry, result)`, each run going on from the last.

    Args:
      function: traced and compiled here.
      carry: consumed; what the call changes.
      inputs: what it only reads.
      runs: how many runs the median is of.

    Returns:
      Its timing.
    """
    compiled, compile_seconds, held = compile_call(function, (carry, inputs))

    def run() -> Any:
        nonlocal carry
        carry, result = compiled(carry, inputs)
        return carry, result

    return Timing(median_seconds(run, runs), compile_seconds, held)
