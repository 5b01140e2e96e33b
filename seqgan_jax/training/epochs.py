"""Many steps in one compiled call: shuffling, drawing and batching on the device.

Each function takes the state first and is jitted by the loop; nothing visits the host in between.
Of the data `num_rows` count, all by default: what follows them only fills up the devices' shares.
Beside its metrics each tells of their `divergence.first_steps`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqgan_jax.mesh import take_rows
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.state import TrainState
from seqgan_jax.training.divergence import first_steps, not_finite
from seqgan_jax.types import Array, LabelledBatch, Metrics, Samples

Sampler = Callable[[TrainState, Array, int], Samples]


def _batches(key: Array, num_rows: int, batch_size: int) -> Array:
    """Row numbers in random order, `[num_rows // batch_size, batch_size]`.

    The rows left over differ from epoch to epoch.
    """
    num_batches = num_rows // batch_size
    order = jax.random.permutation(key, num_rows)
    return order[: num_batches * batch_size].reshape(num_batches, batch_size)


def _means(metrics: Metrics) -> Metrics:
    return jax.tree.map(jnp.mean, metrics)


def _told(metrics: Metrics) -> Metrics:
    """What a call tells of its steps: their means, and where they were not finite, if anywhere."""
    return _means(metrics) | first_steps(not_finite(metrics))


def pretrain_generator_epoch(
    state: TrainState,
    data: Samples,
    *,
    method: Method,
    batch_size: int,
    num_rows: int | None = None,
) -> tuple[TrainState, Metrics]:
    """One epoch of maximum likelihood over shuffled data; metrics are means over its steps."""

    def step(state: TrainState, rows: Array) -> tuple[TrainState, Metrics]:
        return method.pretrain_generator_step(state, take_rows(data, rows))

    rows = _batches(state.subkey("shuffle"), num_rows or data.tokens.shape[0], batch_size)
    state, metrics = jax.lax.scan(step, state, rows)
    return state, _told(metrics)


def generator_steps(
    state: TrainState,
    data: Samples,
    *,
    method: Method,
    num_steps: int,
    batch_size: int,
    num_rows: int | None = None,
) -> tuple[TrainState, Metrics]:
    """The g-steps of one round; metrics are means over them."""

    def step(state: TrainState, _: None) -> tuple[TrainState, Metrics]:
        rows = jax.random.choice(
            state.subkey("real"), num_rows or data.tokens.shape[0], (batch_size,), replace=False
        )
        return method.generator_step(state, take_rows(data, rows))

    state, metrics = jax.lax.scan(step, state, None, length=num_steps)
    return state, _told(metrics)


def discriminator_epochs(
    state: TrainState,
    data: Samples,
    *,
    method: Method,
    sampler: Sampler,
    num_samples: int,
    num_epochs: int,
    batch_size: int,
    num_rows: int | None = None,
) -> tuple[TrainState, Metrics, LabelledBatch]:
    """One d-step: fresh negatives, as many positives, `num_epochs` passes over both (Alg. 1).

    Returns:
      The next state; the means of the last epoch's metrics; and what it was trained on, the
      positives first, `[2 num_samples, T]`.
    """
    fake = sampler(state, state.subkey("negatives"), num_samples)
    rows = jax.random.choice(
        state.subkey("positives"), num_rows or data.tokens.shape[0], (num_samples,), replace=False
    )
    real = take_rows(data, rows)
    pool = LabelledBatch(
        tokens=jnp.concatenate([real.tokens, fake.tokens]),
        mask=jnp.concatenate([real.mask, fake.mask]),
        labels=jnp.repeat(jnp.array([1.0, 0.0]), num_samples),
    )

    def step(state: TrainState, rows: Array) -> tuple[TrainState, Metrics]:
        return method.discriminator_step(state, take_rows(pool, rows))

    def epoch(state: TrainState, _: None) -> tuple[TrainState, tuple[Metrics, Metrics]]:
        rows = _batches(state.subkey("shuffle"), 2 * num_samples, batch_size)
        state, metrics = jax.lax.scan(step, state, rows)
        return state, (_means(metrics), not_finite(metrics))

    state, (means, bad) = jax.lax.scan(epoch, state, None, length=num_epochs)
    return state, jax.tree.map(lambda values: values[-1], means) | first_steps(bad), pool
