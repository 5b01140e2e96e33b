"""The machine's own limits, measured: how fast it multiplies matrices and takes exponentials."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax.benchmark.timing import median_seconds

_RUNS = 7
_SIZE = 2048


class Limits(NamedTuple):
    """Rates that nothing on this machine exceeds."""

    flop_per_second: float  # of a float32 product of two 2048 x 2048 matrices
    exponentials_per_second: float  # of float32, summed as they are taken
    bytes_per_second: float  # read and written by a copy too large for any cache


class Work(NamedTuple):
    """What a phase cannot do without."""

    flop: float = 0.0  # of its matrix products
    exponentials: float = 0.0  # one for each token of the vocabulary at each draw or likelihood

    def __add__(self, other: object) -> Work:
        """Both, one after the other."""
        if not isinstance(other, Work):
            return NotImplemented
        return Work(self.flop + other.flop, self.exponentials + other.exponentials)

    def times(self, number: float) -> Work:
        """The same work `number` times."""
        return Work(self.flop * number, self.exponentials * number)


def least_seconds(work: Work, limits: Limits) -> float:
    """The larger of what the products and what the exponentials alone would take."""
    return max(
        work.flop / limits.flop_per_second, work.exponentials / limits.exponentials_per_second
    )


def measure_limits() -> Limits:
    """Measures this machine; on a CPU the products are NumPy's, elsewhere the device's own."""
    generator = np.random.default_rng(0)
    square = generator.standard_normal((_SIZE, _SIZE), dtype=np.float32)
    if jax.default_backend() == "cpu":
        multiply = median_seconds(lambda: square @ square, _RUNS)
    else:
        on_device = jnp.asarray(square)
        product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
        multiply = median_seconds(lambda: product(on_device), _RUNS)
    logits = jnp.asarray(generator.standard_normal((1024, 4096), dtype=np.float32))
    exponentiate = jax.jit(lambda x: jnp.exp(x).sum(axis=-1))
    exponential = median_seconds(lambda: exponentiate(logits), _RUNS)
    large = jnp.ones(2**26, jnp.float32)
    copy = jax.jit(lambda x: x + 1.0)
    return Limits(
        2.0 * _SIZE**3 / multiply,
        logits.size / exponential,
        2.0 * large.nbytes / median_seconds(lambda: copy(large), _RUNS),
    )
