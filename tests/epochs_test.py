"""Whole phases in one call. A method that only counts makes every figure computable by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.seqgan import seqgan
from seqgan_jax.methods.state import TrainState
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.generator import lstm
from seqgan_jax.search.sampling import sample
from seqgan_jax.training.epochs import (
    discriminator_epochs,
    generator_steps,
    pretrain_generator_epoch,
)
from seqgan_jax.types import LabelledBatch, Samples

ROWS, LENGTH, FAKE = 11, 2, 1000
# Every token of row i is i, so a batch shows which rows it holds; the mask has its own pattern.
DATA = Samples(
    jnp.arange(ROWS)[:, None] * jnp.ones((1, LENGTH), jnp.int32),
    jnp.stack([jnp.ones(ROWS, bool), jnp.arange(ROWS) % 2 == 0], axis=1),
)


def counting_method(batch_size):
    """Counts how often each row was seen, per step; generated rows and wrong labels apart.

    `generator` is `[steps, ROWS]` counts. `discriminator` is the counts of real rows, of generated
    ones, and of sequences with a wrong label or mask.
    """

    def see(state, batch):
        assert batch.tokens.shape == (batch_size, LENGTH)
        rows = batch.tokens[:, 0]
        real = rows < FAKE
        counts = jnp.zeros(ROWS, jnp.int32).at[jnp.where(real, rows, 0)].add(real)
        wrong = (batch.mask[:, 1] != jnp.where(real, rows % 2 == 0, False)).sum()
        return real, counts, wrong

    def generator(state, batch):
        _, counts, wrong = see(state, batch)
        seen = state.generator.at[state.step].add(counts)
        metrics = {"number": state.step.astype(jnp.float32), "wrong": wrong}
        return advance(state, generator=seen), metrics

    def discriminator(state, batch):
        real, counts, wrong = see(state, batch)
        wrong += (batch.labels != real).sum()
        before = state.discriminator
        seen = (before[0] + counts, before[1] + (~real).sum(), before[2] + wrong)
        metrics = {"number": state.step.astype(jnp.float32)}
        return advance(state, discriminator=seen), metrics

    def advance(state, **fields):
        return dataclasses.replace(state, step=state.step + 1, **fields)

    return Method(lambda key: None, generator, generator, discriminator, lambda state: state)


def fresh_state(seed=0):
    none = jnp.zeros((), jnp.int32)
    return TrainState(
        step=none,
        key=jax.random.key(seed),
        generator=jnp.zeros((12, ROWS), jnp.int32),
        rollout=none,
        discriminator=(jnp.zeros(ROWS, jnp.int32), none, none),
        mle_opt_state=none,
        g_opt_state=none,
        d_opt_state=none,
        baseline=none,
    )


def fake_samples(state, key, number):
    """Generated rows: ids from FAKE on that show the key, all of length 1."""
    ids = FAKE + jax.random.randint(key, (number,), 0, 10_000)
    tokens = ids[:, None] * jnp.ones((1, LENGTH), jnp.int32)
    return Samples(tokens, jnp.array([[True, False]] * number))


@functools.cache
def compiled(function, **static):
    return jax.jit(functools.partial(function, **static))


@pytest.fixture(params=["jit", "no_jit"])
def call(request):
    """Makes a function of (state, data)."""
    if request.param == "jit":
        return lambda function, **static: jax.jit(functools.partial(function, **static))
    return lambda function, **static: functools.partial(function, **static)


@pytest.mark.parametrize(("batch_size", "num_batches"), [(3, 3), (11, 1), (4, 2)])
def test_pretraining_sees_each_row_at_most_once_in_full_batches(call, batch_size, num_batches):
    run = call(pretrain_generator_epoch, method=counting_method(batch_size), batch_size=batch_size)
    state, metrics = run(fresh_state(), DATA)
    assert state.step == num_batches
    seen = np.asarray(state.generator)
    np.testing.assert_array_equal(seen[:num_batches].sum(axis=1), batch_size)
    assert seen.sum(axis=0).max() == 1
    assert seen.sum() == num_batches * batch_size
    # Steps 0, 1, ..., n - 1 report their number; the epoch reports the mean.
    np.testing.assert_allclose(metrics["number"], (num_batches - 1) / 2)
    assert metrics["wrong"] == 0


def test_epochs_are_shuffled_afresh_and_leave_out_other_rows():
    run = jax.jit(
        functools.partial(pretrain_generator_epoch, method=counting_method(3), batch_size=3)
    )
    orders, left_out, state = set(), set(), fresh_state()
    for _ in range(4):
        before = state
        state, _ = run(before, DATA)
        seen = np.asarray(state.generator - before.generator)
        orders.add(seen[seen.any(axis=1)].tobytes())
        left_out |= set(np.flatnonzero(seen.sum(axis=0) == 0))
        again, _ = run(before, DATA)
        np.testing.assert_array_equal(again.generator, state.generator)
    assert len(orders) == 4
    assert len(left_out) > 2  # ROWS - 9 rows an epoch, not always the same


def test_generator_steps_draw_a_batch_of_different_rows_each(call):
    run = call(generator_steps, method=counting_method(4), num_steps=5, batch_size=4)
    state, metrics = run(fresh_state(), DATA)
    assert state.step == 5
    seen = np.asarray(state.generator)
    np.testing.assert_array_equal(seen[:5].sum(axis=1), 4)
    assert seen.max() == 1  # no row twice in a batch
    assert seen[5:].sum() == 0
    assert len({row.tobytes() for row in seen[:5]}) > 1  # the steps draw anew
    np.testing.assert_allclose(metrics["number"], 2.0)  # (0 + 1 + 2 + 3 + 4) / 5
    assert metrics["wrong"] == 0


NUM_SAMPLES, NUM_EPOCHS, D_BATCH = 6, 3, 5  # 12 sequences: 2 batches of 5 an epoch


def run_discriminator(call, state):
    run = call(
        discriminator_epochs,
        method=counting_method(D_BATCH),
        sampler=fake_samples,
        num_samples=NUM_SAMPLES,
        num_epochs=NUM_EPOCHS,
        batch_size=D_BATCH,
    )
    return run(state, DATA)


def test_discriminator_epochs(call):
    state, metrics, pool = run_discriminator(call, fresh_state())
    assert state.step == NUM_EPOCHS * 2
    real, fake, wrong = state.discriminator
    assert wrong == 0  # labels and masks belong to their tokens
    assert real.sum() + fake == NUM_EPOCHS * 2 * D_BATCH
    assert real.max() <= NUM_EPOCHS  # at most once an epoch
    # Of 12 sequences 6 are real; an epoch leaves out 2.
    assert NUM_EPOCHS * (NUM_SAMPLES - 2) <= fake <= NUM_EPOCHS * NUM_SAMPLES
    # The last epoch's two steps were numbers 4 and 5.
    np.testing.assert_allclose(metrics["number"], 4.5)
    # What it was trained on: the positives first, drawn without replacement.
    assert pool.tokens.shape == (2 * NUM_SAMPLES, LENGTH)
    rows = np.asarray(pool.tokens[:NUM_SAMPLES, 0])
    assert len(set(rows)) == NUM_SAMPLES
    assert rows.max() < ROWS
    np.testing.assert_array_equal(pool.mask[:NUM_SAMPLES], np.asarray(DATA.mask)[rows])
    assert pool.tokens[NUM_SAMPLES:].min() >= FAKE
    np.testing.assert_array_equal(pool.mask[NUM_SAMPLES:], [[True, False]] * NUM_SAMPLES)
    np.testing.assert_array_equal(pool.labels, [1.0] * NUM_SAMPLES + [0.0] * NUM_SAMPLES)
    assert set(np.flatnonzero(real)) <= set(rows)


def test_every_d_step_has_fresh_negatives_and_positives():
    run = compiled(
        discriminator_epochs,
        method=counting_method(D_BATCH),
        sampler=fake_samples,
        num_samples=NUM_SAMPLES,
        num_epochs=1,
        batch_size=D_BATCH,
    )
    state, _, first = run(fresh_state(), DATA)
    _, _, second = run(state, DATA)
    _, _, repeated = run(fresh_state(), DATA)
    _, _, other_seed = run(fresh_state(seed=1), DATA)
    np.testing.assert_array_equal(first.tokens, repeated.tokens)
    for pool in (second, other_seed):
        assert not set(np.ravel(first.tokens[NUM_SAMPLES:])) & set(
            np.ravel(pool.tokens[NUM_SAMPLES:])
        )
        assert not np.array_equal(first.tokens[:NUM_SAMPLES], pool.tokens[:NUM_SAMPLES])


def test_rows_are_shuffled_anew_in_every_pass():
    # With 12 sequences and one batch of 7 a pass, equal passes would count 0 or 3 of each row.
    run = compiled(
        discriminator_epochs,
        method=counting_method(7),
        sampler=fake_samples,
        num_samples=NUM_SAMPLES,
        num_epochs=3,
        batch_size=7,
    )
    state, _, _ = run(fresh_state(), DATA)
    assert set(np.asarray(state.discriminator[0])) - {0, 3}


# With the real method.

MODEL = lstm(ROWS, 2, 3)
METHOD = seqgan(MODEL, text_cnn(ROWS, 2, ((2, 2),)), TrainingHParams(num_rollouts=2))


def draw(state, key, number):
    return sample(MODEL, state.generator, key, batch_size=number, length=LENGTH)


def test_negatives_are_drawn_from_this_states_generator():
    state = jax.jit(METHOD.init_state)(jax.random.key(0))
    after, metrics, pool = jax.jit(
        functools.partial(
            discriminator_epochs, method=METHOD, sampler=draw, num_samples=4, num_epochs=2,
            batch_size=4,
        )
    )(state, DATA)  # fmt: skip
    assert after.step == 2 * 2  # passes over 8 // 4 batches
    assert 0.0 < metrics["d_loss"] < 5.0
    expected = draw(state, state.subkey("negatives"), 4)
    np.testing.assert_array_equal(pool.tokens[4:], expected.tokens)
    np.testing.assert_array_equal(pool.mask[4:], expected.mask)


@pytest.fixture
def asked(monkeypatch):
    """Every (use, key) that is asked of a state."""
    subkey, asked = TrainState.subkey, []

    def recorded(state, use):
        asked.append((use, subkey(state, use)))
        return asked[-1][1]

    monkeypatch.setattr(TrainState, "subkey", recorded)
    return asked


USES = {
    "pretrain_generator_step": [],
    "generator_step": ["rollout", "sample"],
    "discriminator_step": ["dropout"],
}


def test_dropout_of_maximum_likelihood_asks_for_a_key_of_its_own(asked):
    method = seqgan(MODEL, text_cnn(ROWS, 2, ((2, 2),)), TrainingHParams(mle_dropout_rate=0.5))
    state = jax.eval_shape(method.init_state, jax.random.key(0))
    jax.eval_shape(method.pretrain_generator_step, state, DATA)
    assert [use for use, _ in asked] == ["mle_dropout"]


@pytest.mark.parametrize(("name", "uses"), USES.items())
def test_keys_that_a_step_uses(asked, name, uses):
    state = jax.eval_shape(METHOD.init_state, jax.random.key(0))
    batch = DATA
    if name == "discriminator_step":
        batch = LabelledBatch(*DATA, jnp.ones(ROWS))
    jax.eval_shape(getattr(METHOD, name), state, batch)
    assert sorted(use for use, _ in asked) == uses


def test_no_key_is_used_twice(asked):
    # The counting method, but asking for the keys that the real one uses.
    counting = counting_method(4)

    def asking(name):
        def step(state, batch):
            for use in USES[name]:
                state.subkey(use)
            return getattr(counting, name)(state, batch)

        return step

    method = counting._replace(**{name: asking(name) for name in USES})
    state = fresh_state()
    # Scans run step by step here, so that every key is seen; the checker watches each one's use.
    with jax.disable_jit(), jax.debug_key_reuse(True):
        state, _ = pretrain_generator_epoch(state, DATA, method=method, batch_size=4)
        state, _ = generator_steps(state, DATA, method=method, num_steps=2, batch_size=4)
        discriminator_epochs(
            state, DATA, method=method, sampler=fake_samples, num_samples=4, num_epochs=2,
            batch_size=4,
        )  # fmt: skip
    # shuffle; 2 (real, sample, rollout); negatives, positives, 2 (shuffle, 2 dropout)
    assert sorted({use for use, _ in asked}) == sorted(
        ["shuffle", "real", "sample", "rollout", "negatives", "positives", "dropout"]
    )
    assert len(asked) == 1 + 2 * 3 + 2 + 2 * 3
    assert len({jax.random.key_data(key).tobytes() for _, key in asked}) == len(asked)
