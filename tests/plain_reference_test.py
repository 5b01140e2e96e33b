"""The library does what a plain, word-for-word implementation of the paper does.

Steps are compared by their optimisers' states too: Adam's first step hides the gradient's size.
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import plain_reference as plain
import pytest
from jax.flatten_util import ravel_pytree
from rollout_test import enumerated_values, table_reward

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.losses import policy_gradient_loss
from seqgan_jax.methods import optimizers
from seqgan_jax.methods.seqgan import seqgan
from seqgan_jax.models import teacher_forcing
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.generator import lstm
from seqgan_jax.search import rollout
from seqgan_jax.types import LabelledBatch, Samples

V, T, B = 30, 12, 8
# As text, width_10 sorts before width_2.
FILTERS = ((2, 3), (3, 4), (10, 2))
# Every learning rate 0.01: a step is seen far above the rounding.
HPARAMS = TrainingHParams(d_learning_rate=0.01, d_l2=0.2)
MODEL = lstm(V, 8, 8, init_scale=1.0)
TINY = lstm(3, 2, 3, init_scale=1.0)


def normal_params(init, seed=0, scale=0.7):
    """Large normal parameters: no bias is zero and no two are alike."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return jax.tree.map(lambda s: jnp.asarray(scale * rng.normal(size=s.shape), s.dtype), shapes)


def random_tokens(seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(0, V, (B, T)), jnp.int32)


def cnn(softmax_head=False, dropout_rate=0.0):
    return text_cnn(V, 8, FILTERS, dropout_rate=dropout_rate, softmax_head=softmax_head)


def start(method, **fields):
    """A fresh state, but for these fields."""
    return dataclasses.replace(jax.jit(method.init_state)(jax.random.key(0)), **fields)


def assert_close(one, other, rtol=1e-4, atol=1e-6):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), one, other)


def assert_moved(before, after):
    for one, other in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert np.abs(one - other).max() > 1e-3


def every_sequence(vocab_size, length):
    return jnp.asarray(list(itertools.product(range(vocab_size), repeat=length)), jnp.int32)


# The generator.


@pytest.mark.parametrize("init_scale", [0.1, 1.0])
def test_log_probs_are_the_plain_ones(init_scale):
    model = lstm(V, 8, 8, init_scale=init_scale)
    params = model.init(jax.random.key(1))
    expected = plain.log_probs(params, random_tokens())
    assert expected.std() > init_scale / 2
    result = teacher_forcing.log_probs(model, params, random_tokens())
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_a_step_of_maximum_likelihood_is_the_plain_one():
    method, tokens = seqgan(MODEL, cnn(), HPARAMS), random_tokens()
    state = start(method)
    after, metrics = jax.jit(method.pretrain_generator_step)(
        state, Samples(tokens, jnp.ones((B, T), bool))
    )
    params, opt_state, loss = plain.mle_step(
        state.generator, state.mle_opt_state, tokens, optimizer=optimizers.mle(HPARAMS)
    )
    assert_moved(state.generator, params)
    np.testing.assert_allclose(metrics["mle_loss"], loss, rtol=1e-5)
    assert_close(after.generator, params)
    assert_close(after.mle_opt_state, opt_state)


def test_a_step_of_the_policy_gradient_is_the_plain_one():
    tokens, params = random_tokens(), MODEL.init(jax.random.key(2))
    # Of both signs, as advantages are.
    values = jnp.asarray(np.random.default_rng(1).normal(size=(B, T)), jnp.float32)
    optimizer = optimizers.generator(HPARAMS)
    before = optimizer.init(params)

    def loss_of(params):
        return policy_gradient_loss(teacher_forcing.log_probs(MODEL, params, tokens), values)

    loss, grads = jax.jit(jax.value_and_grad(loss_of))(params)
    updates, opt_state = optimizer.update(grads, before, params)
    expected, plain_opt_state, plain_loss = plain.policy_gradient_step(
        params, before, tokens, values, optimizer=optimizer
    )
    assert_moved(params, expected)
    np.testing.assert_allclose(loss, plain_loss, rtol=1e-5)
    assert_close(optax.apply_updates(params, updates), expected)
    assert_close(opt_state, plain_opt_state)


# The discriminator.


@pytest.mark.parametrize("softmax_head", [False, True])
def test_the_discriminators_logits_are_the_plain_ones(softmax_head):
    classifier = cnn(softmax_head)
    params, tokens = normal_params(classifier.init), random_tokens()
    expected = plain.discriminator_logits(params, tokens)
    assert expected.shape == (B,)
    assert expected.std() > 0.3
    logits = classifier.apply(
        params, classifier.embed(params, tokens), jnp.ones((B, T), bool), None
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_dropout_spreads_the_logits_as_the_plain_one_does():
    classifier, mask = cnn(dropout_rate=0.4), jnp.ones((B, T), bool)
    params, tokens = normal_params(classifier.init), random_tokens()
    embedded, count = classifier.embed(params, tokens), 4000

    def spread(logits_under, seed):
        keys = jax.random.split(jax.random.key(seed), count)
        logits = np.asarray(jax.jit(jax.vmap(logits_under))(keys), np.float64)
        # The output layer is linear in what is dropped: the mean is the logit without dropout.
        error = logits.std(axis=0) / np.sqrt(count)
        assert (np.abs(logits.mean(axis=0) - certain) <= 5 * error).all()
        return logits.std(axis=0)

    certain = plain.discriminator_logits(params, tokens)
    library = spread(lambda key: classifier.apply(params, embedded, mask, key), 0)
    expected = spread(
        lambda key: plain.discriminator_logits(params, tokens, key, dropout_rate=0.4), 1
    )
    assert expected.min() > 0.1
    # A standard deviation of 4000 draws is known to about sqrt(1 / 8000) = 1.1 %, their ratio to
    # 1.6 %. A rate of 0.3 in place of 0.4 would be 20 % away.
    np.testing.assert_allclose(library, expected, rtol=0.08)


@pytest.mark.parametrize("softmax_head", [False, True])
def test_a_step_of_the_discriminator_is_the_plain_one(softmax_head):
    classifier, tokens = cnn(softmax_head), random_tokens()
    method = seqgan(MODEL, classifier, HPARAMS)
    state = start(method, discriminator=normal_params(classifier.init))
    labels = jnp.asarray([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    after, metrics = jax.jit(method.discriminator_step)(
        state, LabelledBatch(tokens, jnp.ones((B, T), bool), labels)
    )
    params, opt_state, loss = plain.discriminator_step(
        state.discriminator, state.d_opt_state, tokens, labels, jax.random.key(1),
        optimizer=optimizers.discriminator(HPARAMS), l2=0.2, dropout_rate=0.0,
    )  # fmt: skip
    assert_moved(state.discriminator, params)
    np.testing.assert_allclose(metrics["d_loss"], loss, rtol=1e-5)
    assert_close(after.discriminator, params)
    assert_close(after.d_opt_state, opt_state)


# Drawing and searching.


def test_plain_samples_follow_the_model():
    params, count = TINY.init(jax.random.key(6)), 40_000
    every = every_sequence(3, 2)
    expected = np.exp(np.asarray(plain.log_probs(params, every), np.float64).sum(axis=1))
    np.testing.assert_allclose(expected.sum(), 1.0, rtol=1e-5)
    drawn = plain.sample(params, jax.random.key(4), batch_size=count, length=2)
    assert drawn.shape == (count, 2)
    frequencies = (drawn[:, None] == every[None]).all(axis=-1).mean(axis=0)
    # Five standard deviations of a frequency, in each of the nine cells.
    tolerance = 5 * np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(frequencies - expected) <= tolerance).all()
    # The same bound refuses a second token that does not look at the first.
    table = expected.reshape(3, 3)
    independent = (table.sum(axis=1)[:, None] * table.sum(axis=0)[None]).ravel()
    assert (np.abs(frequencies - independent) > 2 * tolerance).any()


def test_action_values_have_the_plain_ones_expectation():
    length, copies, num_rollouts = 3, 500, 8
    params = TINY.init(jax.random.key(6))
    table = np.random.default_rng(0).random(3**length)
    every, mean, variance = enumerated_values(TINY, params, table, length)
    reward = table_reward(table, 3)
    tokens = jnp.tile(every, (copies, 1))
    library = jax.jit(
        functools.partial(rollout.action_values, TINY, reward=reward, num_rollouts=num_rollouts)
    )
    estimates = {
        "plain": plain.action_values(
            params, lambda finished: reward(finished, None), tokens, jax.random.key(5),
            num_rollouts=num_rollouts,
        ),
        "library": library(params, tokens=tokens, key=jax.random.key(6)),
    }  # fmt: skip
    # Five standard errors of the mean of all completions of a prefix, and float32's rounding.
    tolerance = 5 * np.sqrt(np.maximum(variance, 0) / (copies * num_rollouts)) + 1e-5
    # The bound is far below what sets one prefix apart from another.
    assert tolerance.max() < 0.3 * mean[:, :-1].std()
    for name, values in estimates.items():
        values = np.asarray(values, np.float64).reshape(copies, *every.shape)
        assert (np.abs(values.mean(axis=0) - mean) <= tolerance).all(), name
        np.testing.assert_array_equal(values[:, :, -1], np.tile(np.float32(table), (copies, 1)))
        # Were the rollouts one and the same, the values would scatter 8 times as much. A sample
        # variance of 500 has a relative standard deviation of about sqrt(2 / 500) = 6 %.
        scattered = variance > 0.01
        scatter = values.var(axis=0)[scattered] / (variance[scattered] / num_rollouts)
        assert 0.6 < scatter.min() < scatter.max() < 1.4, name


# The whole g-step.


def test_a_plain_g_step_runs():
    params, classifier = MODEL.init(jax.random.key(7)), cnn()
    optimizer = optimizers.generator(HPARAMS)
    after, _, loss = plain.generator_step(
        params, optimizer.init(params), normal_params(classifier.init), jax.random.key(8),
        batch_size=B, length=T, num_rollouts=2, optimizer=optimizer,
    )  # fmt: skip
    assert np.isfinite(loss)
    assert_moved(params, after)


def test_a_g_step_has_the_plain_ones_mean_loss_and_gradient():
    batch_size, length, count = 2, 3, 4000
    classifier = text_cnn(3, 3, ((2, 4),))
    hparams = TrainingHParams(g_clip_norm=1e9, num_rollouts=2)
    method, optimizer = seqgan(TINY, classifier, hparams), optimizers.generator(hparams)
    generator = normal_params(TINY.init, seed=1, scale=1.0)
    # A discriminator with strong opinions, for a gradient that stands out from its noise.
    discriminator = normal_params(classifier.init, seed=1, scale=1.5)
    state = start(method, generator=generator, rollout=generator, discriminator=discriminator)
    shape = Samples(
        jnp.zeros((batch_size, length), jnp.int32), jnp.ones((batch_size, length), bool)
    )

    def measured(loss, opt_state):
        # After one step from zero, Adam's first moment is a tenth of the gradient.
        return jnp.append(ravel_pytree(optax.tree.get(opt_state, "mu"))[0] / 0.1, loss)

    def library_step(key):
        after, metrics = method.generator_step(dataclasses.replace(state, key=key), shape)
        return measured(metrics["g_loss"], after.g_opt_state)

    def plain_step(key):
        _, opt_state, loss = plain.generator_step(
            state.generator, state.g_opt_state, state.discriminator, key,
            batch_size=batch_size, length=length, num_rollouts=2, optimizer=optimizer,
        )  # fmt: skip
        return measured(loss, opt_state)

    def mean_and_error(step, seed):
        keys = jax.random.split(jax.random.key(seed), count)
        # One after the other: vmap moves an axis of the keys that the plain step scans, which JAX's
        # check for reuse takes for a use.
        results = np.asarray(jax.jit(lambda keys: jax.lax.map(step, keys))(keys), np.float64)
        return results.mean(axis=0), results.std(axis=0) / np.sqrt(count)

    mean, error = mean_and_error(library_step, 0)
    expected, plain_error = mean_and_error(plain_step, 1)
    error = np.hypot(error, plain_error) + 1e-7
    # Five standard errors of the difference, in each of the parameters and the loss.
    assert (np.abs(mean - expected) <= 5 * error).all()
    # The same measure refuses the other sign, and a mean over the batch for a sum.
    for wrong in (-1.0, 1 / batch_size):
        assert np.max(np.abs(mean - wrong * expected)[:-1] / error[:-1]) > 8, wrong
