"""REINFORCE: its gradient is that of the expected reward, and it moves towards a target."""

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
from seqgan_jax.methods.method import Drawn
from seqgan_jax.methods.registry import METHODS
from seqgan_jax.methods.reinforce import reinforce
from seqgan_jax.models.bigru import bigru
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.generator import gru
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.rewards import discriminator_reward
from seqgan_jax.search.sampling import sample

CLASSIFIER = text_cnn(V, 3, ((2, 4),))
HPARAMS = TrainingHParams(g_clip_norm=enumerated.UNCLIPPED)
REWARDS = jnp.asarray(np.random.default_rng(0).uniform(0.0, 1.0, V**T), jnp.float32)


def table_reward(tokens, mask):
    """An arbitrary but fixed reward for each of the 27 sequences."""
    del mask
    return REWARDS[tokens @ (V ** jnp.arange(T))]


@functools.cache
def start():
    """A fresh state, its discriminator of larger parameters, which has opinions from the start."""
    state = jax.jit(reinforce(TABLE, CLASSIFIER, HPARAMS).init_state)(jax.random.key(0))
    larger = jax.tree.map(lambda leaf: 3.0 * leaf, state.discriminator)
    return dataclasses.replace(state, discriminator=larger)


def exact_gradient(model, params, reward):
    """Of sum_y p(y) reward(y)."""
    rewards = reward(*enumerated.sequences(model))

    def expected_reward(params):
        return (jnp.exp(enumerated.log_likelihoods(model, params)) * rewards).sum()

    return np.asarray(ravel_pytree(jax.grad(expected_reward)(params))[0], np.float64)


@pytest.mark.parametrize(
    ("model", "baseline", "average", "factor"),
    [
        (TABLE, "none", np.nan, 1.0),
        (ENDING, "leave_one_out", np.nan, 1.0),
        (ENDING, "moving_average", 0.4, 1.0),
        # A sequence's own value is in its baseline: a share 1 / B of the gradient is lost.
        (ENDING, "batch_mean", np.nan, 1 / 2),
    ],
)
def test_mean_gradient_is_exact(model, baseline, average, factor):
    # Tolerance: 5 standard errors, from the spread over 20,000 keys. A normal deviate passes it
    # once in 1.7 million times, and there are 39 components.
    hparams = dataclasses.replace(HPARAMS, baseline=baseline)
    state = dataclasses.replace(start(), baseline=jnp.asarray(average))
    step = functools.partial(
        reinforce(model, CLASSIFIER, hparams).generator_step, reward=table_reward
    )
    gradients = enumerated.step_gradients(step, state, 2, 20_000)
    # The loss sums over the batch, so its gradient is B times that of one sequence.
    exact = 2 * exact_gradient(model, state.generator, table_reward)
    assert enumerated.standard_errors_away(gradients, factor * exact) < 5.0
    # The same measure refuses the wrong sign, and the other baselines' factor.
    for wrong in (-factor, 1.5 - factor):
        assert enumerated.standard_errors_away(gradients, wrong * exact) > 8.0, wrong


def test_every_token_is_weighed_by_the_discriminators_verdict_on_the_whole():
    hparams, state = dataclasses.replace(HPARAMS, baseline="leave_one_out"), start()
    step = jax.jit(reinforce(ENDING, CLASSIFIER, hparams).generator_step)
    after, metrics = step(state, enumerated.batch_of(3))
    drawn = sample(ENDING, state.generator, state.subkey("sample"), batch_size=3, length=T)
    rewards = discriminator_reward(CLASSIFIER, state.discriminator)(*drawn)
    rewards, mask = np.asarray(rewards, np.float64), np.asarray(drawn.mask)
    chosen = np.asarray(log_probs(ENDING, state.generator, drawn.tokens))
    loss = 0.0
    for b in range(3):
        for t in range(T):
            others = [rewards[i] for i in range(3) if i != b and mask[i, t]]
            baseline = np.mean(others) if others else 0.0
            loss -= mask[b, t] * chosen[b, t] * (rewards[b] - baseline)
    np.testing.assert_allclose(metrics["g_loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(metrics["reward_mean"], rewards.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["reward_std"], rewards.std(), rtol=1e-4)
    assert rewards.std() > 0.01
    assert not mask.all()
    # No rollout policy, no discriminator.
    fields = {"step", "generator", "g_opt_state", "baseline"}
    assert enumerated.changed_fields(state, after) == fields
    # A prefix would be completed by the rollout policy; what that is does not matter.
    other = dataclasses.replace(state, rollout=TABLE.init(jax.random.key(9)))
    assert step(other, enumerated.batch_of(3))[1]["g_loss"] == metrics["g_loss"]


def test_it_searches_nothing():
    method = reinforce(TABLE, CLASSIFIER, HPARAMS)
    assert METHODS["reinforce"] is reinforce
    assert method.drawn(64, 20) == Drawn(sequences=64, tokens=64 * 20)
    assert method.uses_discriminator
    state = start()
    assert method.end_round(state) is state


def test_the_baseline_that_only_search_can_give_is_refused():
    hparams = dataclasses.replace(HPARAMS, baseline="prefix")
    with pytest.raises(ValueError, match=r"training\.baseline='prefix'.* give leave_one_out"):
        reinforce(TABLE, CLASSIFIER, hparams)
    with pytest.raises(ValueError, match="likelihood_ratio"):
        reinforce(TABLE, CLASSIFIER, dataclasses.replace(HPARAMS, reward="likelihood_ratio"))


def test_gru_against_bigru_moves_towards_a_target():
    # Total variation, of the five seeds: from 0.76 to 0.36 to 0.50 when this was written.
    hparams = TrainingHParams(baseline="leave_one_out", d_learning_rate=5e-3, d_l2=0.0)
    generator = gru(toy_target.V, 8, 16)
    method = reinforce(generator, bigru(toy_target.V, 8, 16, dropout_rate=0.0), hparams)
    before, after = toy_target.distances(method, language_model=generator, rounds=60)
    assert (before > 0.7).all()
    assert (after < before - 0.15).all(), after
    assert after.mean() < 0.5, after
