"""Scheduled sampling: its schedules, its coin, its draws, and maximum likelihood at rate 1."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy_target as toy
from sampling_test import assert_distributed, chain_model

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods.method import Drawn
from seqgan_jax.methods.mle import mle
from seqgan_jax.methods.registry import METHODS
from seqgan_jax.methods.scheduled_sampling import mixed_inputs, scheduled_sampling, true_rate
from seqgan_jax.models.generator import gru
from seqgan_jax.types import LanguageModel, Samples, SequenceClassifier, mask_until_end

SCHEDULES = ("linear", "exponential", "inverse_sigmoid")


def refuse(*args):
    raise AssertionError("a discriminator is asked")


NO_CRITIC = SequenceClassifier(lambda key: jnp.zeros(()), refuse, refuse, refuse)


def hparams_of(schedule="linear", fall=0.0, least=0.0, **others):
    return TrainingHParams(
        sampling_schedule=schedule, sampling_fall=fall, sampling_least=least, **others
    )


def full(tokens):
    return Samples(jnp.asarray(tokens, jnp.int32), jnp.ones(np.shape(tokens), bool))


# The schedules.


@pytest.mark.parametrize(
    ("schedule", "fall", "least", "expected"),  # after 0, 1, 10 and 1000 updates
    [
        ("linear", 0.01, 0.0, (1.0, 0.99, 0.9, 0.0)),
        ("linear", 0.002, 0.25, (1.0, 0.998, 0.98, 0.25)),
        # 0.9^10, 0.9^1000 = 2e-46
        ("exponential", 0.1, 0.0, (1.0, 0.9, 0.3486784, 0.0)),
        ("exponential", 0.1, 0.5, (1.0, 0.9, 0.5, 0.5)),
        # k = 10: 10 / 11, 10 / (10 + e^0.1), 10 / (10 + e), 10 / (10 + e^100)
        ("inverse_sigmoid", 0.1, 0.0, (0.9090909, 0.9004815, 0.7862697, 0.0)),
        ("inverse_sigmoid", 0.1, 0.8, (0.9090909, 0.9004815, 0.8, 0.8)),
    ],
)
def test_rates_by_hand(schedule, fall, least, expected):
    hparams = hparams_of(schedule, fall, least)
    found = [true_rate(jnp.int32(updates), hparams) for updates in (0, 1, 10, 1000)]
    assert all(rate.dtype == jnp.float32 and rate.shape == () for rate in found)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_number_of_updates_overflows(schedule):
    for fall, least in ((1.3e-5, 0.0), (0.999, 0.25)):
        rate = true_rate(jnp.int32(2**31 - 1), hparams_of(schedule, fall, least))
        assert rate == least
    assert true_rate(jnp.int32(2**31 - 1), hparams_of(schedule, 0.0)) == 1.0
    assert 0 <= true_rate(jnp.int32(50_000), hparams_of(schedule, 1.3e-5)) < 1


# Rate 1 is maximum likelihood.


def ragged(vocab_size, end_token, number=12, length=6):
    tokens = jax.random.randint(jax.random.key(3), (number, length), 0, vocab_size)
    return Samples(tokens, mask_until_end(tokens, end_token))


def assert_same(one, other, within=0.0):
    """To the bit, or within rounding, of every leaf."""

    def same(a, b):
        a, b = (jax.random.key_data(x) if x.dtype == one.key.dtype else x for x in (a, b))
        np.testing.assert_allclose(a, b, rtol=within, atol=within / 100)

    jax.tree.map(same, one, other)


def assert_rate_1_is_mle(model, hparams, within=0.0):
    batch = ragged(5, 4)
    mixed, plain = (make(model, NO_CRITIC, hparams) for make in (scheduled_sampling, mle))
    start = jax.jit(plain.init_state)(jax.random.key(0))
    steps = [jax.jit(each.generator_step) for each in (mixed, plain)]
    one = other = start
    for _ in range(4):
        one, metrics = steps[0](one, batch)
        other, expected = steps[1](other, batch)
        assert_same(one, other, within)
        assert metrics.pop("true_rate") == 1.0
        assert metrics.keys() == expected.keys()
        for name, value in metrics.items():
            np.testing.assert_allclose(value, expected[name], rtol=within)
    moved = jax.tree.map(lambda a, b: abs(a - b).max(), one.generator, start.generator)
    assert max(jax.tree.leaves(moved)) > 0.01


@pytest.mark.parametrize("schedule", ["linear", "inverse_sigmoid"])
def test_without_a_fall_it_is_maximum_likelihood_to_the_bit(schedule):
    assert_rate_1_is_mle(dataclasses.replace(toy.TARGET, end_token=4), hparams_of(schedule))


def test_at_rate_1_dropout_and_decay_are_those_of_maximum_likelihood():
    model = gru(5, 3, 4, end_token=4, init_scale=1.0)
    hparams = hparams_of("exponential", 0.5, 1.0, mle_dropout_rate=0.2, mle_weight_decay=0.01)
    # Two programs of a GRU may round differently; without dropout, or decay, it is 1e-3 and more.
    assert_rate_1_is_mle(model, hparams, within=1e-5)


# The coin.

# Draws 1 or 2 alike, never 0; how unlikely a 0 is tells whether a 0 was fed.
LOGITS = np.array([[-20.0, 0.0, 0.0], [-30.0, 0.0, 0.0], [-30.0, 0.0, 0.0]])
NEVER = dataclasses.replace(chain_model(3), init=lambda key: jnp.asarray(LOGITS, jnp.float32))


def share_fed(loss, length):
    """Of positions behind the first, how many were fed the true 0, from the loss of targets 0."""
    # -log p(0) is 20 + log 2 after a 0, 30 + log 2 otherwise; the start token is 0.
    total = (30.0 + math.log(2) - loss) / 10 * length
    return (total - 1) / (length - 1)


def test_the_rate_is_measured_step_by_step():
    # 4096 * 7 coins: a standard deviation of 0.003; within 0.012 of the schedule.
    hparams = hparams_of("linear", 0.1, 0.25, mle_learning_rate=1e-9)
    method = scheduled_sampling(NEVER, NO_CRITIC, hparams)
    state = jax.jit(method.init_state)(jax.random.key(0))
    batch = full(np.zeros((4096, 8)))
    steps = [jax.jit(f) for f in (method.pretrain_generator_step, method.generator_step)]
    measured, told = [], []
    for update in range(10):
        state, metrics = steps[update // 5](state, batch)  # the count goes on after pre-training
        measured.append(share_fed(float(metrics["mle_loss"]), 8))
        told.append(float(metrics["true_rate"]))
    schedule = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.25]
    np.testing.assert_allclose(told, schedule, rtol=1e-5)
    np.testing.assert_allclose(measured, schedule, atol=0.012)
    assert measured[0] == pytest.approx(1.0, abs=1e-5)  # no coin may fail
    assert measured[8] != measured[9]  # fresh coins each step


@functools.cache
def inputs_at():
    """Mixed inputs by model and rate, under jit."""
    return jax.jit(
        lambda model, params, batch, rate, seed: mixed_inputs(
            model, params, batch, rate, jax.random.key(seed), jax.random.key(seed + 1)
        ),
        static_argnums=0,
    )


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.75, 1.0])
def test_there_is_a_coin_for_each_token_of_each_sequence(rate):
    batch = full(np.zeros((2000, 11)))
    inputs = np.asarray(inputs_at()(NEVER, jnp.asarray(LOGITS), batch, rate, 0))
    assert (inputs[:, 0] == 0).all()
    true = inputs[:, 1:] == 0
    # The published coin is one for all. 2000 a position: a standard deviation below 0.012.
    np.testing.assert_allclose(true.mean(axis=0), rate, atol=0.05)
    # Independent ones: shares of 10 have a variance of p (1 - p) / 10, +- 5 % of it.
    variance = rate * (1 - rate) / 10
    np.testing.assert_allclose(true.mean(axis=1).var(), variance, rtol=0.15)
    # What is drawn is no more one token than the other.
    if rate < 1:
        np.testing.assert_allclose((inputs[:, 1:][~true] == 1).mean(), 0.5, atol=0.025)


# The draws.


def pair_model():
    """Logits by both tokens before: its state remembers what was fed."""
    return LanguageModel(
        vocab_size=3,
        init=lambda key: 1.5 * jax.random.normal(key, (3, 3, 3)),
        initial_state=lambda params, batch_size: jnp.zeros((batch_size,), jnp.int32),
        step=lambda params, previous, token: (token, params[previous, token]),
        start_token=1,
    )


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_draws_follow_the_model_given_the_inputs_so_far(rate):
    model, truth, number = pair_model(), (2, 0, 1, 2), 20_000
    params = model.init(jax.random.key(4))
    inputs = inputs_at()(model, params, full([truth] * number), rate, 7)
    inputs = np.asarray(inputs)
    assert (inputs[:, 0] == model.start_token).all()
    # P(a, b, c) as inputs 1 to 3, each of them the truth or drawn given those before.
    chance = np.asarray(jax.nn.softmax(params.astype(jnp.float32)), np.float64)
    true = np.eye(3)[list(truth)]
    first = rate * true[0] + (1 - rate) * chance[0, 1]
    second = rate * true[1] + (1 - rate) * chance[1]  # [a, b]
    third = rate * true[2] + (1 - rate) * chance  # [a, b, c]
    expected = first[:, None, None] * second[:, :, None] * third
    np.testing.assert_allclose(expected.sum(), 1.0, rtol=1e-6)
    codes = inputs[:, 1:] @ np.array([9, 3, 1])
    assert_distributed(codes, expected.reshape(-1))


def test_behind_an_end_the_truth_is_fed_and_before_it_padding_changes_nothing():
    model = gru(4, 3, 4, end_token=3, pad_token=0, init_scale=1.0)
    params = jax.jit(model.init)(jax.random.key(0))
    batch = ragged(4, 3, number=40, length=7)
    inputs = inputs_at()(model, params, batch, 0.0, 0)
    behind = ~batch.mask[:, 1:]
    assert behind.sum() > 40
    # Not what the loss sees: positions whose target is behind the end.
    np.testing.assert_array_equal(inputs[:, 1:][behind], batch.tokens[:, :-1][behind])
    other = Samples(jnp.where(batch.mask, batch.tokens, 1), batch.mask)
    again = inputs_at()(model, params, other, 0.0, 0)
    np.testing.assert_array_equal(again[batch.mask], inputs[batch.mask])


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_the_gradient_is_of_the_true_tokens_at_fixed_inputs(rate):
    # A chain's loss has by hand the gradient (softmax - one-hot of the truth) / number of tokens
    # in the row of each input; through the draws would come more, or none.
    model = dataclasses.replace(chain_model(3), init=lambda key: jax.random.normal(key, (3, 3)))
    hparams = hparams_of("linear", 0.999, rate, g_clip_norm=1e9)
    method = scheduled_sampling(model, NO_CRITIC, hparams)
    batch = ragged(3, None, number=30, length=4)
    step = jax.jit(method.generator_step)
    state, _ = step(method.init_state(jax.random.key(5)), batch)  # now i = 1
    inputs = mixed_inputs(
        model, state.generator, batch, max(rate, 0.001), state.subkey("true_or_drawn"),
        state.subkey("scheduled_draw"),
    )  # fmt: skip
    inputs, targets = np.asarray(inputs).reshape(-1), np.asarray(batch.tokens).reshape(-1)
    assert (inputs.reshape(30, 4)[:, 1:] != targets.reshape(30, 4)[:, :-1]).mean() > 0.2
    chance = np.asarray(jax.nn.softmax(state.generator))
    expected = np.zeros((3, 3))
    np.add.at(expected, inputs, (chance[inputs] - np.eye(3)[targets]) / len(targets))
    before = optax.tree.get(state.mle_opt_state, "mu")
    state, metrics = step(state, batch)
    gradient = (optax.tree.get(state.mle_opt_state, "mu") - 0.9 * before) / 0.1
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    loss = -np.log(chance[inputs, targets]).mean()
    np.testing.assert_allclose(metrics["mle_loss"], loss, rtol=1e-5)


# The method.


def test_both_phases_are_the_one_step():
    method = scheduled_sampling(toy.TARGET, NO_CRITIC, hparams_of())
    assert METHODS["scheduled_sampling"] is scheduled_sampling
    assert method.pretrain_generator_step is method.generator_step
    assert not method.uses_discriminator
    assert method.drawn(8, 5) == Drawn(0, 8 * 4)


def test_sequences_of_one_token_leave_nothing_to_draw():
    method = scheduled_sampling(toy.TARGET, NO_CRITIC, hparams_of("linear", 0.9))
    state = method.init_state(jax.random.key(0))
    one, metrics = jax.jit(method.generator_step)(state, full([[1], [2]]))
    assert one.step == 1
    assert np.isfinite(metrics["mle_loss"])


def test_seeds_are_runs_of_their_own_under_vmap():
    method = scheduled_sampling(pair_model(), NO_CRITIC, hparams_of("linear", 0.9))
    batch = ragged(3, None)

    def two_steps(key):
        state, _ = method.generator_step(method.init_state(key), batch)  # then at a rate of 0.1
        state, metrics = method.generator_step(state, batch)
        return state.generator, metrics["mle_loss"]

    keys = jax.random.split(jax.random.key(0), 3)
    params, losses = jax.jit(jax.vmap(two_steps))(jnp.copy(keys))
    alone = jax.jit(two_steps)(keys[1])
    np.testing.assert_allclose(params[1], alone[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(losses[1], alone[1], rtol=1e-5)
    assert len(set(losses.tolist())) == 3


def test_it_moves_toward_its_target():
    # The share of true tokens falls to 0.9 in 100 rounds. Measured: 0.76 to 0.13-0.17, where
    # maximum likelihood reaches 0.12-0.15; the further it falls, the less of the target is left
    # to learn: its draws stand before tokens that did not follow them (arXiv 1511.05101), so that
    # at a rate of 0 it ends at 0.50-0.53.
    method = scheduled_sampling(toy.GENERATOR, NO_CRITIC, hparams_of("linear", 1e-3))
    before, after = toy.distances(method)
    assert (before > 0.7).all()
    assert (after < 0.25 * before).all()
