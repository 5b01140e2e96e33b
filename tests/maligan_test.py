"""MaliGAN: its weights by hand, and that with the best discriminator it is maximum likelihood."""

import dataclasses
import functools

import enumerated
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_target
from enumerated import ENDING, TABLE, T, V
from jax.flatten_util import ravel_pytree

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods.maligan import importance_weights, maligan
from seqgan_jax.methods.method import Drawn
from seqgan_jax.methods.registry import METHODS
from seqgan_jax.models.density import density
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.rewards import discriminator_reward
from seqgan_jax.search.sampling import sample

HPARAMS = TrainingHParams(g_clip_norm=enumerated.UNCLIPPED, d_l2=0.0)
CNN = text_cnn(V, 3, ((2, 4),))


# The weights.


def test_weights_by_hand():
    # D = 1/2, 2/3 and 5/6: r = D / (1 - D) = 1, 2 and 5, of 8 together.
    logits = jnp.log(jnp.array([1.0, 2.0, 5.0]))
    np.testing.assert_allclose(jax.nn.sigmoid(logits), [1 / 2, 2 / 3, 5 / 6], rtol=1e-6)
    expected = [1 / 8 - 1 / 3, 2 / 8 - 1 / 3, 5 / 8 - 1 / 3]
    np.testing.assert_allclose(importance_weights(logits), expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0, 1e4])
def test_weights_sum_to_zero(scale):
    logits = scale * jax.random.normal(jax.random.key(0), (64,))
    weights = np.asarray(importance_weights(logits))
    assert np.isfinite(weights).all()
    assert abs(weights.sum()) < 1e-6
    assert weights.min() >= -1 / 64
    assert weights.max() <= 1 - 1 / 64
    assert weights.std() > 1e-4
    # What D thinks of all of them alike does not count.
    np.testing.assert_allclose(importance_weights(logits + 3.0), weights, rtol=1e-2, atol=1e-6)


def test_without_a_difference_there_is_no_weight():
    np.testing.assert_array_equal(importance_weights(jnp.full((8,), 2.5)), 0.0)


# The gradient.


@functools.cache
def start(model, classifier=CNN):
    return jax.jit(maligan(model, classifier, HPARAMS).init_state)(jax.random.key(0))


def of_densities(model):
    """A state whose discriminator knows a density P of its own, not near to G's; and P's params."""
    state = start(model, density(model))
    target = model.init(jax.random.key(5))
    return dataclasses.replace(state, discriminator=target), target


def gradient_of_expectation(model, params, values_of):
    """Of the expectation under G of a value of (log P, log G) for each sequence, held fixed."""

    def surrogate(params):
        log_g = enumerated.log_likelihoods(model, params)
        fixed = jax.lax.stop_gradient(log_g)
        return (jnp.exp(fixed) * values_of(fixed) * log_g).sum()

    return np.asarray(ravel_pytree(jax.grad(surrogate)(params))[0], np.float64)


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("model", [TABLE, ENDING], ids=["table", "end_token"])
def test_with_the_best_discriminator_its_gradient_is_that_of_maximum_likelihood(model):
    # Self-normalised weights are biased by O(1 / B). Tolerance: 5 % of the gradient's length, over
    # the bias of B = 2048 and the noise of 150 keys.
    state, target = of_densities(model)
    step = maligan(model, density(model), HPARAMS).generator_step
    found = enumerated.step_gradients(step, state, 2048, 150).mean(axis=0)
    log_p = enumerated.log_likelihoods(model, target)

    def expected_log_likelihood(params):
        return (jnp.exp(log_p) * enumerated.log_likelihoods(model, params)).sum()

    exact = np.asarray(ravel_pytree(jax.grad(expected_log_likelihood)(state.generator))[0])
    assert relative_error(found, exact) < 0.05
    # Were samples weighed by D, or by log D / (1 - D) (-KL(G || P)), it would point elsewhere.
    for values_of in (lambda log_g: jax.nn.sigmoid(log_p - log_g), lambda log_g: log_p - log_g):
        other = gradient_of_expectation(model, state.generator, values_of)
        cosine = other @ found / np.linalg.norm(other) / np.linalg.norm(found)
        assert cosine < 0.97
        assert relative_error(found, other) > 0.2


def test_the_target_is_its_fixed_point():
    state, _ = of_densities(TABLE)
    state = dataclasses.replace(state, generator=jax.tree.map(jnp.copy, state.discriminator))
    after, metrics = jax.jit(maligan(TABLE, density(TABLE), HPARAMS).generator_step)(
        state, enumerated.batch_of(16)
    )
    np.testing.assert_allclose(metrics["reward_mean"], 0.5, rtol=1e-5)
    assert metrics["advantage_std"] < 1e-6
    assert np.abs(enumerated.gradient_in(after.g_opt_state)).max() < 1e-5


@pytest.mark.parametrize("model", [TABLE, ENDING], ids=["table", "end_token"])
def test_a_sequence_has_one_weight_at_its_real_positions(model):
    state = start(TABLE)
    larger = jax.tree.map(lambda leaf: 5.0 * leaf, state.discriminator)
    state = dataclasses.replace(state, discriminator=larger)
    # Of the reward and the baseline, which do not apply, either is named once.
    settings = {TABLE: {}, ENDING: {"reward": "logit", "baseline": "leave_one_out"}}[model]
    hparams = dataclasses.replace(HPARAMS, **settings)
    step = jax.jit(maligan(model, CNN, hparams).generator_step)
    after, metrics = step(state, enumerated.batch_of(8))
    drawn = sample(model, state.generator, state.subkey("sample"), batch_size=8, length=T)
    probability = np.asarray(discriminator_reward(CNN, state.discriminator)(*drawn), np.float64)
    ratio = probability / (1 - probability)
    weights = ratio / ratio.sum() - 1 / 8
    assert weights.std() > 0.01
    chosen = np.where(drawn.mask, log_probs(model, state.generator, drawn.tokens), 0.0)
    loss = -(weights * chosen.sum(axis=1)).sum()
    np.testing.assert_allclose(metrics["g_loss"], loss, rtol=1e-3)
    np.testing.assert_allclose(metrics["reward_mean"], probability.mean(), rtol=1e-5)
    each = np.broadcast_to(weights[:, None], chosen.shape)[np.asarray(drawn.mask)]
    np.testing.assert_allclose(metrics["advantage_std"], each.std(), rtol=1e-3)
    effective = ratio.sum() ** 2 / (ratio**2).sum()
    np.testing.assert_allclose(metrics["effective_samples"], effective, rtol=1e-3)
    fields = {"step", "generator", "g_opt_state", "baseline"}
    assert enumerated.changed_fields(state, after) == fields


def test_it_searches_nothing():
    method = maligan(TABLE, CNN, HPARAMS)
    assert METHODS["maligan"] is maligan
    assert method.drawn(64, 20) == Drawn(sequences=64, tokens=64 * 20)
    state = start(TABLE)
    assert method.end_round(state) is state


def test_a_batch_of_one_is_refused():
    with pytest.raises(ValueError, match=r"batch_size=1.*at least 2"):
        maligan(TABLE, CNN, HPARAMS).generator_step(start(TABLE), enumerated.batch_of(1))


def test_it_moves_towards_a_target():
    # Total variation, of the five seeds: from 0.765 to 0.29 to 0.41 when this was written.
    hparams = TrainingHParams(d_learning_rate=5e-3, d_l2=0.0)
    method = maligan(toy_target.GENERATOR, toy_target.CNN, hparams)
    before, after = toy_target.distances(method, rounds=60)
    assert (before > 0.7).all()
    assert (after < before - 0.2).all(), after
    assert after.mean() < 0.45, after
