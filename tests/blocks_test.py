"""Rows packed by whether they are live, against plain arithmetic on all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.blocks import in_place, live_blocks, map_live


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 30])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_live_rows_get_the_function_and_others_zero(rows, share):
    live = np.random.default_rng(rows).random(rows) < share
    inputs = jnp.arange(2.0 * rows).reshape(rows, 2)
    blocks = live_blocks(jnp.asarray(live), most_rows=4)
    result = in_place(map_live(lambda x: x * x + 1.0, inputs, blocks), blocks)
    expected = np.where(live[:, None], np.asarray(inputs) ** 2 + 1.0, 0.0)
    np.testing.assert_array_equal(result, expected)


def test_a_block_without_a_live_row_is_not_computed():
    """A NaN of any block that were computed would show in the sum of all results."""
    live = jnp.arange(12) < 5
    blocks = live_blocks(live, most_rows=4)
    results = map_live(lambda x: x + 1.0, jnp.zeros(12), blocks)
    assert results.shape == (3, 4)
    # Two blocks hold the five; what follows them in the second repeats row 0; the third is zeros.
    np.testing.assert_array_equal(results, [[1.0] * 4, [1.0] * 4, [0.0] * 4])


def test_it_takes_trees_and_maps_over_seeds():
    live = jnp.array([[True, False, True], [False, False, True]])
    inputs = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones((2, 3), jnp.int32)}

    def one(live, inputs):
        blocks = live_blocks(live, most_rows=2)
        result = map_live(lambda x: (x["a"] + 1.0, x["b"] * 2), inputs, blocks)
        return tuple(in_place(leaf, blocks) for leaf in result)

    floats, integers = jax.vmap(one)(live, inputs)
    np.testing.assert_array_equal(floats, [[1.0, 0.0, 3.0], [0.0, 0.0, 6.0]])
    np.testing.assert_array_equal(integers, [[2, 0, 2], [0, 0, 2]])
