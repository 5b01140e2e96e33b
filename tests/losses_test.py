"""Losses against numbers computed by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.losses import discriminator_loss, masked_mean, mle_loss, policy_gradient_loss

LOG_PROBS = jnp.array([[-1.0, -2.0, -3.0], [-4.0, -5.0, -6.0]])
VALUES = jnp.array([[1.0, 0.5, 2.0], [-1.0, 0.0, 3.0]])
MASK = jnp.array([[True, True, True], [True, False, False]])
NONE_REAL = jnp.zeros_like(MASK)


def mapped_over_copies(function):
    """vmap over three copies of every argument; the copies' results must be one and the same."""

    def mapped(*args):
        copies = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), args)
        results = jax.vmap(function)(*copies)
        first = jax.tree.map(lambda leaf: leaf[0], results)
        for leaf, one in zip(jax.tree.leaves(results), jax.tree.leaves(first), strict=True):
            np.testing.assert_array_equal(leaf, jnp.stack([one] * 3))
        return first

    return mapped


@pytest.fixture(params=[lambda function: function, jax.jit, mapped_over_copies])
def variant(request):
    return request.param


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (None, 3.5),  # (1 + 2 + 3 + 4 + 5 + 6) / 6
        (MASK, 2.5),  # (1 + 2 + 3 + 4) / 4
        (NONE_REAL, 0.0),
    ],
)
def test_mle_loss(variant, mask, expected):
    np.testing.assert_allclose(variant(mle_loss)(LOG_PROBS, mask), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        # -(-1 * 1 - 2 * 0.5 - 3 * 2 - 4 * -1 - 5 * 0 - 6 * 3) = 1 + 1 + 6 - 4 + 0 + 18
        (None, 22.0),
        (MASK, 4.0),  # 1 + 1 + 6 - 4
        (NONE_REAL, 0.0),
    ],
)
def test_policy_gradient_loss_is_a_sum(variant, mask, expected):
    loss = variant(policy_gradient_loss)(LOG_PROBS, VALUES, mask)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize("mask", [None, MASK, NONE_REAL])
def test_gradient_of_policy_gradient_loss(variant, mask):
    gradients = variant(jax.grad(policy_gradient_loss, argnums=(0, 1)))
    by_log_probs, by_values = gradients(LOG_PROBS, VALUES, mask)
    # The surrogate's gradient at a position is -Q there; none flows through Q itself.
    real = jnp.ones_like(MASK) if mask is None else mask
    np.testing.assert_array_equal(by_log_probs, -VALUES * real)
    np.testing.assert_array_equal(by_values, jnp.zeros_like(VALUES))


def test_discriminator_loss(variant):
    # D = sigmoid(ln 3) = 3/4 and sigmoid(0) = 1/2.
    logits = jnp.array([math.log(3.0), math.log(3.0), 0.0])
    labels = jnp.array([1.0, 1.0, 0.0])
    # -ln(3/4), twice, and -ln(1 - 1/2): (2 * 0.2876821 + 0.6931472) / 3
    np.testing.assert_allclose(variant(discriminator_loss)(logits, labels), 0.4228371, rtol=1e-5)
    gradient = variant(jax.grad(discriminator_loss))(logits, labels)
    # (D - label) / B
    np.testing.assert_allclose(gradient, [-0.25 / 3, -0.25 / 3, 0.5 / 3], rtol=1e-5)


def test_discriminator_loss_is_finite_when_the_verdict_is_certain_and_wrong(variant):
    logits, labels = jnp.array([1000.0, -1000.0]), jnp.array([0.0, 1.0])
    np.testing.assert_allclose(variant(discriminator_loss)(logits, labels), 1000.0)
    gradient = variant(jax.grad(discriminator_loss))(logits, labels)
    np.testing.assert_allclose(gradient, [0.5, -0.5])


def test_masked_mean(variant):
    values = jnp.array([2.0, 4.0, 9.0])
    np.testing.assert_allclose(variant(masked_mean)(values), 5.0)  # 15 / 3
    # (2 + 4) / 2
    np.testing.assert_allclose(variant(masked_mean)(values, jnp.array([True, True, False])), 3.0)
    np.testing.assert_allclose(variant(masked_mean)(values, jnp.zeros(3, bool)), 0.0)


@pytest.mark.parametrize("padding", [0.0, -1e30, -jnp.inf])
@pytest.mark.parametrize(
    "loss",
    [mle_loss, lambda log_probs, mask: policy_gradient_loss(log_probs, VALUES, mask)],
    ids=["mle", "policy_gradient"],
)
def test_padding_changes_neither_value_nor_gradient(variant, loss, padding):
    padded = jnp.where(MASK, LOG_PROBS, padding)
    function = variant(loss), variant(jax.grad(loss))
    for each in function:
        np.testing.assert_array_equal(each(padded, MASK), each(LOG_PROBS, MASK))
    gradient = function[1](padded, MASK)
    assert (np.asarray(gradient)[np.asarray(MASK)] != 0).any()
    np.testing.assert_array_equal(np.asarray(gradient)[~np.asarray(MASK)], 0.0)


@pytest.mark.parametrize(
    "loss",
    [mle_loss, lambda log_probs, mask: policy_gradient_loss(log_probs, VALUES, mask)],
    ids=["mle", "policy_gradient"],
)
def test_gradient_is_zero_where_nothing_is_real(variant, loss):
    gradient = variant(jax.grad(loss))(LOG_PROBS, NONE_REAL)
    np.testing.assert_array_equal(gradient, jnp.zeros_like(LOG_PROBS))


@pytest.mark.parametrize(
    "call",
    [
        lambda: mle_loss(LOG_PROBS[0]),
        lambda: mle_loss(LOG_PROBS, MASK[:, :1]),
        lambda: policy_gradient_loss(LOG_PROBS, VALUES[:, :1]),
        lambda: policy_gradient_loss(LOG_PROBS[0], VALUES[0]),
        lambda: discriminator_loss(LOG_PROBS[:, :1], jnp.ones(2)),
        lambda: discriminator_loss(jnp.ones(3), jnp.ones(1)),
    ],
)
def test_shapes_that_would_broadcast_are_refused(call):
    with pytest.raises(AssertionError):
        call()
