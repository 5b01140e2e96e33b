"""Baselines against numbers computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.methods.baselines import (
    batch_mean,
    leave_one_out,
    prefix,
    update_moving_average,
)

VALUES = jnp.array([[1.0, 2.0], [4.0, 3.0], [4.0, 100.0]])
ALL = jnp.ones((3, 2), bool)
# The third sequence has ended before the second position; its 100 must not count there.
ENDED = jnp.array([[True, True], [True, True], [True, False]])
# Only the first sequence is alive at the second position.
ALONE = jnp.array([[True, True], [True, False], [True, False]])


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        # (1 + 4 + 4) / 3 and (2 + 3 + 100) / 3, the same for every sequence
        (ALL, [[3.0, 35.0]] * 3),
        # Ended ones count as 0 in a mean over all three: (2 + 3 + 0) / 3 and (2 + 0 + 0) / 3
        (ENDED, [[3.0, 5 / 3]] * 3),
        (ALONE, [[3.0, 2 / 3]] * 3),
    ],
)
def test_batch_mean(mask, expected, jitted):
    function = jax.jit(batch_mean) if jitted else batch_mean
    np.testing.assert_allclose(function(VALUES, mask), expected, rtol=1e-6)


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        # First column: (4 + 4) / 2, (1 + 4) / 2, (1 + 4) / 2
        # second: (3 + 100) / 2, (2 + 100) / 2, (2 + 3) / 2
        (ALL, [[4.0, 51.5], [2.5, 51.0], [2.5, 2.5]]),
        # Second column: 3 / 1 and 2 / 1; for the ended one, which no loss reads, (2 + 3) / 2
        (ENDED, [[4.0, 3.0], [2.5, 2.0], [2.5, 2.5]]),
        # No other is alive beside the first: 0. The ended two see the first's 2 / 1.
        (ALONE, [[4.0, 0.0], [2.5, 2.0], [2.5, 2.0]]),
    ],
)
def test_leave_one_out(mask, expected, jitted):
    function = jax.jit(leave_one_out) if jitted else leave_one_out
    np.testing.assert_allclose(function(VALUES, mask), expected, rtol=1e-6)


@pytest.mark.parametrize("jitted", [False, True])
def test_prefix(jitted):
    function = jax.jit(prefix) if jitted else prefix
    # First the mean of the others, (4 + 4) / 2 and twice (1 + 4) / 2; then the value one before.
    expected = [[4.0, 1.0], [2.5, 4.0], [2.5, 4.0]]
    np.testing.assert_allclose(function(VALUES, ALL), expected, rtol=1e-6)
    np.testing.assert_allclose(function(VALUES, ENDED), expected, rtol=1e-6)
    np.testing.assert_allclose(function(VALUES[:, :1], ALL[:, :1]), [[4.0], [2.5], [2.5]])


@pytest.mark.parametrize("baseline", [batch_mean, leave_one_out])
def test_nobody_alive_is_finite(baseline):
    np.testing.assert_array_equal(baseline(VALUES, jnp.zeros((3, 2), bool)), np.zeros((3, 2)))


@pytest.mark.parametrize("baseline", [batch_mean, leave_one_out])
def test_values_behind_the_end_do_not_count(baseline):
    other = jnp.where(ENDED, VALUES, -1e6)
    np.testing.assert_array_equal(baseline(other, ENDED)[ENDED], baseline(VALUES, ENDED)[ENDED])


@pytest.mark.parametrize("jitted", [False, True])
def test_moving_average(jitted):
    function = jax.jit(update_moving_average) if jitted else update_moving_average
    average = function(jnp.nan, jnp.array([1.0, 3.0]), 0.75)
    np.testing.assert_allclose(average, 2.0)  # the first mean itself
    average = function(average, jnp.array([4.0, 8.0]), 0.75)
    np.testing.assert_allclose(average, 3.0)  # 0.75 * 2 + 0.25 * 6
    average = function(average, jnp.array([-5.0, -5.0]), 0.75)
    np.testing.assert_allclose(average, 1.0)  # 0.75 * 3 - 0.25 * 5


def test_moving_average_without_memory_is_the_last_mean():
    np.testing.assert_allclose(update_moving_average(jnp.array(7.0), jnp.array([1.0]), 0.0), 1.0)
