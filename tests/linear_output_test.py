"""Logits and their shift: finite exponentials whatever the size of the logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.models.linear_output import linear_output, shifted_logits
from seqgan_jax.models.teacher_forcing import linear_log_probs

R, H, V = 7, 5, 40


def layer(scale, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(R, H)).astype(np.float32)
    kernel = (scale * rng.normal(size=(H, V))).astype(np.float32)
    bias = (scale * rng.normal(size=V)).astype(np.float32)
    return features, kernel, bias


def test_logits_are_the_layer_s():
    features, kernel, bias = layer(1.0)
    logits, shift = shifted_logits(features, *linear_output(kernel, bias))
    np.testing.assert_allclose(logits, features @ kernel + bias, rtol=1e-5, atol=1e-5)
    assert shift.shape == (R,)


def test_small_logits_are_not_shifted_and_large_ones_by_their_maximum():
    for scale, shifted in ((1.0, False), (100.0, True)):
        features, kernel, bias = layer(scale)
        logits, shift = shifted_logits(features, *linear_output(kernel, bias))
        np.testing.assert_array_equal(shift, logits.max(axis=1) if shifted else np.zeros(R))


def test_the_bound_holds_for_a_column_parallel_to_the_features():
    """The worst case of Cauchy and Schwarz: as large as float32's exponentials reach."""
    kernel = np.zeros((H, V), np.float32)
    kernel[:, 3] = 1.0
    for largest in np.linspace(70.0, 100.0, 31):
        features = np.full((1, H), largest / H, np.float32)
        logits, shift = shifted_logits(features, *linear_output(kernel, np.zeros(V)))
        total = jnp.exp(logits - shift[:, None]).sum()
        assert np.isfinite(total)
        assert total >= 1.0


@pytest.mark.parametrize("scale", [1.0, 15.0, 40.0, 1000.0])
def test_likelihoods_are_exact_on_both_sides_of_the_bound(scale):
    features, kernel, bias = layer(scale)
    targets = np.arange(R) % V
    found = linear_log_probs(features, kernel, bias, jnp.asarray(targets))
    logits = features.astype(np.float64) @ kernel + bias
    highest = logits.max(axis=1)
    normaliser = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    expected = logits[np.arange(R), targets] - normaliser
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * max(1.0, scale))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_seen(bad):
    features, kernel, bias = layer(1.0)
    features[2, 1] = bad
    found = linear_log_probs(features, kernel, bias, jnp.zeros(R, jnp.int32))
    assert not np.isfinite(found[2])


def test_seeds_can_be_mapped():
    features, kernel, bias = layer(40.0)
    kernels = jnp.stack([0.01 * kernel, kernel])

    def judge(kernel):
        return linear_log_probs(features, kernel, bias, jnp.zeros(R, jnp.int32))

    np.testing.assert_allclose(
        jax.vmap(judge)(kernels), [judge(kernel) for kernel in kernels], rtol=1e-5
    )
