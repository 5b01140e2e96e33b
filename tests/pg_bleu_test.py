"""PG-BLEU: which references, which reward, and where it leads."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_target as toy
from sampling_test import chain_model
from scheduled_sampling_test import NO_CRITIC

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import seqgan
from seqgan_jax.methods.method import Drawn
from seqgan_jax.methods.pg_bleu import choose_references, pg_bleu
from seqgan_jax.methods.registry import METHODS
from seqgan_jax.metrics.bleu_score import bleu
from seqgan_jax.metrics.scorer import words
from seqgan_jax.search.bleu_reward import bleu_reward
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import epochs
from seqgan_jax.types import Samples, mask_until_end

V, T, END = 4, 5, 3
ENDING = chain_model(V, end_token=END)
HPARAMS = TrainingHParams(num_rollouts=2, bleu_order=2)


def training_data(number=30):
    tokens = jax.random.randint(jax.random.key(2), (number, T), 0, V)
    return Samples(tokens, mask_until_end(tokens, END))


# References.


@pytest.mark.parametrize(("share", "number"), [(0.4, 12), (1.0, 30), (0.001, 1)])
def test_references_are_a_share_of_the_training_sequences(share, number):
    train = Samples(jnp.arange(150).reshape(30, 5), jnp.arange(150).reshape(30, 5) % 7 > 2)
    chosen = choose_references(train, share)
    rows = chosen.tokens[:, 0] // 5
    assert len(set(rows.tolist())) == number  # none twice
    np.testing.assert_array_equal(chosen.tokens, train.tokens[rows])
    np.testing.assert_array_equal(chosen.mask, train.mask[rows])
    np.testing.assert_array_equal(chosen.tokens, choose_references(train, share).tokens)
    assert number < 2 or set(rows.tolist()) != set(range(number)) or share == 1.0


# The step.


def test_a_step_is_seqgans_with_bleu_of_the_words_drawn():
    train, batch = training_data(), training_data(16)
    hparams = dataclasses.replace(HPARAMS, baseline="leave_one_out")
    method = pg_bleu(ENDING, NO_CRITIC, hparams, train)
    state = jax.jit(method.init_state)(jax.random.key(0))
    found, metrics = jax.jit(method.generator_step)(state, batch)

    drawn = sample(ENDING, state.generator, state.subkey("sample"), batch_size=16, length=T)
    references = choose_references(train, 0.4)
    scores = bleu(words(drawn, END), words(references, END), 2)
    assert len(np.unique(scores.round(4))) > 3
    np.testing.assert_allclose(metrics["reward_mean"], scores.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["reward_std"], scores.std(), rtol=1e-4)

    other = functools.partial(
        seqgan.generator_step, language_model=ENDING, classifier=NO_CRITIC, hparams=hparams,
        reward=bleu_reward(references, 2, END),
    )  # fmt: skip
    expected, same = jax.jit(other)(state, batch)
    np.testing.assert_array_equal(found.generator, expected.generator)
    assert abs(found.generator - state.generator).max() > 1e-3
    assert metrics == same


def test_it_follows_the_rollouts_and_asks_no_discriminator():
    method = pg_bleu(ENDING, NO_CRITIC, HPARAMS, training_data())
    assert METHODS["pg_bleu"] is pg_bleu
    assert not method.uses_discriminator
    # 8 sequences; of each 2 completions of prefixes 1 to 4, of 4, 3, 2 and 1 tokens.
    assert method.drawn(8, 5) == Drawn(8 + 8 * 2 * 4, 8 * 5 + 8 * 2 * 10)
    state = jax.jit(method.init_state)(jax.random.key(0))
    state = dataclasses.replace(state, generator=state.generator + 1.0)
    np.testing.assert_array_equal(method.end_round(state).rollout, state.generator)


def test_without_training_sequences_it_can_only_be_sampled_from():
    method = pg_bleu(ENDING, NO_CRITIC, HPARAMS)
    state = jax.jit(method.init_state)(jax.random.key(0))
    with pytest.raises(ValueError, match="made without training sequences"):
        method.generator_step(state, training_data(8))


# Learning.


def test_it_climbs_bleu_past_the_target_and_then_leaves_the_target():
    # 40 references of 625 sequences. BLEU knows no variety, so the target is not its optimum.
    train = toy.real(100)
    model = dataclasses.replace(
        toy.TARGET, init=lambda key: 0.1 * jax.random.normal(key, (toy.V, toy.V))
    )
    hparams = TrainingHParams(num_rollouts=1, baseline="leave_one_out", g_learning_rate=0.03)
    method = pg_bleu(model, NO_CRITIC, hparams, train)
    reward = bleu_reward(choose_references(train, 0.4), 3)
    scores = jax.jit(reward)(toy.ALL, jnp.ones(toy.ALL.shape, bool))
    of_target = float(toy.probabilities(toy.TARGET, toy.TABLE) @ scores)

    def measured(state):
        probabilities = toy.probabilities(model, state.generator)
        return probabilities @ scores, toy.distance(model, state.generator)

    def a_round(state, _):
        state, _ = epochs.generator_steps(state, train, method=method, num_steps=1, batch_size=64)
        state = method.end_round(state)
        return state, measured(state)

    @jax.jit
    @jax.vmap
    def run(key):
        state = method.init_state(key)
        return measured(state), jax.lax.scan(a_round, state, None, length=100)[1]

    (bleu_before, before), course = run(jax.random.split(jax.random.key(0), toy.SEEDS))
    (bleu_halfway, bleu_after), (halfway, after) = (each.T[np.array([49, 99])] for each in course)
    # Measured: 0.46-0.48, 0.88-0.89, 0.98; the target itself has 0.907.
    np.testing.assert_allclose(of_target, 0.907, atol=5e-4)
    assert (bleu_before < 0.5).all()
    assert (bleu_halfway > bleu_before + 0.35).all()
    assert (bleu_halfway < of_target).all()
    assert (bleu_after > of_target + 0.05).all()
    # Measured: 0.77, 0.37-0.45, 0.60-0.68, and beyond 0.73 after 150 rounds.
    assert (halfway < before - 0.25).all()
    assert (after > halfway + 0.1).all()
