import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.models import generator, teacher_forcing
from seqgan_jax.search import rollout
from seqgan_jax.types import LanguageModel, mask_until_end


def chain_model(vocab_size, **kwargs):
    """The params `[V, V]` are the logits of each token's successor."""
    return LanguageModel(
        vocab_size=vocab_size,
        init=lambda key: jnp.zeros((vocab_size, vocab_size)),
        initial_state=lambda params, batch_size: jnp.zeros((batch_size, 1)),
        step=lambda params, state, token: (state, params[token]),
        **kwargs,
    )


def successor_logits(vocab_size):
    """Token v is always followed by (v + 1) % V."""
    table = np.full((vocab_size, vocab_size), -np.inf, np.float32)
    table[np.arange(vocab_size), (np.arange(vocab_size) + 1) % vocab_size] = 0.0
    return jnp.asarray(table)


def random_table(vocab_size, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(1.5 * rng.normal(size=(vocab_size, vocab_size)), jnp.float32)


def random_tokens(batch_size, length, vocab_size, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.integers(0, vocab_size, (batch_size, length)), jnp.int32)


def digits_reward(base):
    """Reads a sequence as a number in base V: it tells any two sequences apart, exactly."""

    def reward(tokens, mask):
        del mask
        value = jnp.zeros(tokens.shape[:-1], jnp.int32)
        for t in range(tokens.shape[-1]):
            value = value * base + tokens[..., t]
        return value.astype(jnp.float32)

    return reward


def action_values(language_model, params, reward, tokens, seed=0, **kwargs):
    """The function under jit, with parameters, tokens and key as arguments."""
    jitted = jax.jit(
        lambda params, tokens, key: rollout.action_values(
            language_model, params, reward, tokens, key, **kwargs
        )
    )
    return np.asarray(jitted(params, tokens, jax.random.key(seed)))


# --- schedule


@pytest.mark.parametrize("length", range(2, 10))
@pytest.mark.parametrize("num_rollouts", range(1, 5))
def test_schedule_draws_no_more_than_is_needed(length, num_rollouts):
    plan = rollout.schedule(length, num_rollouts)
    # Every slot is scanned T steps, a token each; prefix t needs T - t of them, N times.
    needed = sum(length - t for t in range(1, length)) * num_rollouts
    assert needed == length * (length - 1) // 2 * num_rollouts
    spare = length // 2 if length % 2 == 0 and num_rollouts % 2 == 1 else 0
    assert len(plan.first) * length == needed + spare
    np.testing.assert_array_equal(plan.first + plan.second, length)
    # A slot's first completion fits into the steps before its second starts.
    assert plan.first.min() >= 1
    assert plan.second.min() >= 1


@pytest.mark.parametrize("length", range(2, 10))
@pytest.mark.parametrize("num_rollouts", range(1, 5))
def test_schedule_counts_each_prefix_n_times(length, num_rollouts):
    plan = rollout.schedule(length, num_rollouts)
    assert plan.weight.shape == (length - 1, 2 * len(plan.first))
    np.testing.assert_array_equal(plan.weight.sum(axis=1), num_rollouts)
    # No completion counts for two prefixes, and each counts for the prefix it completes.
    assert plan.weight.sum(axis=0).max() <= 1
    completed = np.concatenate([plan.first, plan.second])
    for prefix, weights in enumerate(plan.weight, start=1):
        assert set(completed[weights > 0]) == {prefix}


# --- completions that can be worked out by hand


def test_values_by_hand():
    def share_of_sevens(tokens, mask):
        return (tokens == 7).sum(-1) / mask.sum(-1)

    tokens = jnp.array([[5, 2, 6, 7], [7, 7, 0, 1]], jnp.int32)
    values = action_values(
        chain_model(10), successor_logits(10), share_of_sevens, tokens, num_rollouts=2
    )
    # Prefixes of the first:  5 -> 5678, 52 -> 5234, 526 -> 5267, and 5267 itself:
    #   shares of 7           1/4        0            1/4           1/4
    # Prefixes of the second: 7 -> 7890, 77 -> 7789, 770 -> 7701, and 7701 itself:
    #   shares of 7           1/4        2/4          2/4           2/4
    np.testing.assert_allclose(values, [[0.25, 0, 0.25, 0.25], [0.25, 0.5, 0.5, 0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    ("length", "num_rollouts", "chunk_size"),
    [
        *((length, 2, 2) for length in (1, 2, 3, 4, 7)),
        *((length, 1, 2) for length in (2, 6)),
        *((6, 7, chunk_size) for chunk_size in (1, 2, 3, 100)),
    ],
)
def test_completions_keep_their_prefix_and_their_place(length, num_rollouts, chunk_size):
    vocab_size = 7
    tokens = random_tokens(5, length, vocab_size)
    values = action_values(
        chain_model(vocab_size), successor_logits(vocab_size), digits_reward(vocab_size), tokens,
        num_rollouts=num_rollouts, chunk_size=chunk_size,
    )  # fmt: skip
    expected = np.zeros((5, length))
    for b, row in enumerate(np.asarray(tokens)):
        for t in range(1, length + 1):
            completion = [*row[:t], *((row[t - 1] + 1 + i) % vocab_size for i in range(length - t))]
            expected[b, t - 1] = sum(
                int(token) * vocab_size ** (length - 1 - i) for i, token in enumerate(completion)
            )
    assert values.dtype == np.float32
    # 7^7 * 7 rollouts < 2^23: every sum is exact; the division by N may round.
    np.testing.assert_allclose(values, expected, rtol=2e-7)


def test_a_model_with_several_state_arrays():
    """The next token is the sum of all tokens fed so far plus their number, modulo V.

    A state that is taken from a wrong position, or of which one array is not, shows.
    """
    vocab_size, start = 5, 2

    def step(params, state, token):
        total = (state["total"] + token) % vocab_size
        fed = state["history"][0] + 1
        history = state["history"][1].at[:, 0, 1].add(1.0)
        following = (total + fed[:, 0]) % vocab_size
        # A history that disagrees with the count would leave no legal token.
        agrees = history[:, 0, 1] == fed[:, 0]
        logits = jnp.where(jax.nn.one_hot(following, vocab_size) * agrees[:, None] > 0, 0.0, -1e9)
        return {"total": total, "history": (fed, history)}, logits + params

    def initial_state(params, batch_size):
        return {
            "total": jnp.zeros(batch_size, jnp.int32),
            "history": (jnp.zeros((batch_size, 1), jnp.int32), jnp.zeros((batch_size, 2, 2))),
        }

    model = LanguageModel(vocab_size, lambda key: None, initial_state, step, start_token=start)
    length = 6
    tokens = random_tokens(4, length, vocab_size, seed=length)
    values = action_values(
        model, jnp.zeros((1, vocab_size)), digits_reward(vocab_size), tokens, num_rollouts=2
    )
    expected = np.zeros(tokens.shape)
    for b, row in enumerate(np.asarray(tokens)):
        for t in range(1, length + 1):
            completion = [int(token) for token in row[:t]]
            while len(completion) < length:
                # Fed so far: the start token and the completion.
                fed = [start, *completion]
                completion.append((sum(fed) + len(fed)) % vocab_size)
            expected[b, t - 1] = sum(
                token * vocab_size ** (length - 1 - i) for i, token in enumerate(completion)
            )
    np.testing.assert_allclose(values, expected, rtol=2e-7)


def test_one_token_is_the_finished_sequence():
    tokens = jnp.array([[3], [5]], jnp.int32)
    values = action_values(
        chain_model(7), successor_logits(7), digits_reward(7), tokens, num_rollouts=4
    )
    np.testing.assert_array_equal(values, [[3.0], [5.0]])


# --- the expectation


def enumerated_values(language_model, params, table, length):
    """Every sequence, its exact Q, and the variance of one completion's reward, all `[V^T, T]`."""
    vocab_size = language_model.vocab_size
    every = np.array(list(itertools.product(range(vocab_size), repeat=length)), np.int32)
    log_probs = teacher_forcing.log_probs(language_model, params, every)
    probabilities = np.exp(np.asarray(log_probs, np.float64).sum(axis=1))
    np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-4)
    mean, variance = np.zeros(every.shape), np.zeros(every.shape)
    for index, sequence in enumerate(every):
        for t in range(1, length + 1):
            same = (every[:, :t] == sequence[:t]).all(axis=1)
            weights = probabilities[same] / probabilities[same].sum()
            mean[index, t - 1] = weights @ table[same]
            variance[index, t - 1] = weights @ table[same] ** 2 - mean[index, t - 1] ** 2
    return jnp.asarray(every), mean, variance


def table_reward(table, vocab_size):
    number = digits_reward(vocab_size)

    def reward(tokens, mask):
        return jnp.asarray(table, jnp.float32)[number(tokens, mask).astype(jnp.int32)]

    return reward


@functools.cache
def lstm_and_params():
    model = generator.lstm(3, 2, 3, start_token=1)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    # A scale of 1.5 makes what follows depend strongly on all that came before.
    params = jax.tree.map(lambda s: jnp.asarray(1.5 * rng.normal(size=s.shape), s.dtype), shapes)
    return model, params


@pytest.mark.parametrize("length", [3, 4])
def test_mean_over_rollouts_is_the_expectation(length):
    model, params = lstm_and_params()
    table = np.random.default_rng(length).random(3**length)
    tokens, mean, variance = enumerated_values(model, params, table, length)
    num_rollouts = 6000
    values = action_values(
        model, params, table_reward(table, 3), tokens,
        num_rollouts=num_rollouts, chunk_size=300,
    )  # fmt: skip
    # Five standard errors of the mean of N independent completions, and float32's rounding.
    tolerance = 5 * np.sqrt(np.maximum(variance, 0) / num_rollouts) + 1e-5
    assert (np.abs(values - mean) <= tolerance).all()
    # The bound is far below what sets one prefix apart from another.
    assert tolerance.max() < 0.3 * mean[:, :-1].std()
    np.testing.assert_allclose(values[:, -1], table, rtol=1e-6)


def test_unequal_chunks_are_unbiased():
    # N = 7 is no multiple of 3: the last chunk is smaller, and counts for less.
    chunk_size = 3
    model, params = lstm_and_params()
    table = np.random.default_rng(5).random(81)
    tokens, mean, variance = enumerated_values(model, params, table, 4)
    num_keys = 500
    keys = jax.random.split(jax.random.key(chunk_size), num_keys)
    values = jax.jit(
        jax.vmap(
            lambda key: rollout.action_values(
                model, params, table_reward(table, 3), tokens, key,
                num_rollouts=7, chunk_size=chunk_size,
            )
        )
    )(keys)  # fmt: skip
    assert np.isfinite(values).all()
    tolerance = 5 * np.sqrt(np.maximum(variance, 0) / (7 * num_keys)) + 1e-5
    assert (np.abs(values.mean(axis=0) - mean) <= tolerance).all()
    # Were the 7 completions one and the same, the estimates would scatter 7 times as much. A sample
    # variance of 500 has a relative standard deviation of about sqrt(2 / 500) = 6 %.
    scattered = variance > 0.01
    scatter = np.asarray(values).var(axis=0)[scattered] / (variance[scattered] / 7)
    assert scatter.min() > 0.6
    assert scatter.max() < 1.4


# --- the end of a sequence

END, PAD = 3, 1  # the pad token is also an ordinary one


def well_formed(tokens, mask):
    """1 where the mask covers the tokens up to the first end, and padding follows; else 0."""
    length = tokens.shape[-1]
    place = jnp.where(tokens == END, jnp.arange(length), length).min(axis=-1, keepdims=True)
    position = jnp.arange(length).reshape((1,) * (tokens.ndim - 1) + (length,))
    real = position <= place
    right = (mask == real) & (real | (tokens == PAD))
    return right.all(axis=-1).astype(jnp.float32)


ENDED = jnp.array(
    [
        [0, 2, 1, 0, 2, 0],  # never ends
        [0, 2, 1, 0, 2, END],  # at the last position
        [0, 1, END, PAD, PAD, PAD],
        [2, END, PAD, PAD, PAD, PAD],
        [END, PAD, PAD, PAD, PAD, PAD],
    ],
    jnp.int32,
)


@pytest.mark.parametrize(
    ("tokens", "chunk_size"), [(ENDED, 2), (ENDED[:, :5].at[1, 4].set(END), 1)]
)
def test_completions_of_models_with_an_end_are_well_formed(tokens, chunk_size):
    model = chain_model(4, end_token=END, pad_token=PAD)
    values = action_values(
        model, random_table(4), well_formed, tokens, num_rollouts=20, chunk_size=chunk_size
    )
    np.testing.assert_allclose(values, np.ones(tokens.shape), rtol=1e-6)


def test_the_well_formed_check_can_fail():
    mask = mask_until_end(ENDED, END)
    np.testing.assert_array_equal(well_formed(ENDED, mask), 1.0)
    assert well_formed(ENDED.at[2, 5].set(2), mask)[2] == 0.0
    assert well_formed(ENDED, mask.at[2, 3].set(True))[2] == 0.0


def test_completions_of_an_ended_prefix_are_the_sequence_itself():
    model = chain_model(4, end_token=END, pad_token=PAD)
    reward = digits_reward(4)
    values = action_values(model, random_table(4), reward, ENDED, num_rollouts=4)
    finished = np.asarray(reward(ENDED, mask_until_end(ENDED, END)))
    ends = [5, 5, 2, 1, 0]  # the column of the end token; the first sequence has none
    for b, end in enumerate(ends):
        # 4^6 * 4 rollouts is exact in float32, and so is its quarter.
        np.testing.assert_array_equal(values[b, end:], finished[b])
        assert (values[b, :end] != finished[b]).all()


# --- transformations


def arguments():
    return {
        "language_model": chain_model(5, end_token=4),
        "params": random_table(5),
        "reward": digits_reward(5),
        "tokens": random_tokens(3, 4, 5, seed=2),
    }


def test_jit_and_vmap_agree_with_a_plain_call():
    def estimate(key):
        return rollout.action_values(**arguments(), key=key, num_rollouts=2)

    jitted = [jax.jit(estimate)(jax.random.key(seed)) for seed in range(2)]
    assert not np.array_equal(jitted[0], jitted[1])
    np.testing.assert_allclose(estimate(jax.random.key(0)), jitted[0], rtol=1e-6)
    mapped = jax.jit(jax.vmap(estimate))(jax.vmap(jax.random.key)(jnp.arange(2)))
    np.testing.assert_allclose(mapped, jitted, rtol=1e-6)


def test_no_gradient_flows():
    model, params = lstm_and_params()
    tokens = random_tokens(2, 4, 3)

    def total(params, scale, length):
        # The reward itself depends on what is differentiated, as a discriminator's would.
        def reward(tokens, mask):
            return scale * tokens.sum(-1) * params["bias"].sum()

        values = rollout.action_values(
            model, params, reward, tokens[:, :length], jax.random.key(0), num_rollouts=2
        )
        return values.sum()

    for length in (1, 4):
        differentiate = jax.jit(jax.grad(total, argnums=(0, 1)), static_argnums=2)
        gradients = differentiate(params, 1.0, length)
        for leaf in jax.tree.leaves(gradients):
            np.testing.assert_array_equal(leaf, 0.0)


@pytest.mark.parametrize(
    ("num_rollouts", "chunk_size", "message"),
    [(0, 2, "num_rollouts=0"), (-1, 2, "num_rollouts=-1"), (2, 0, "chunk_size=0")],
)
def test_bad_arguments_are_named(num_rollouts, chunk_size, message):
    with pytest.raises(ValueError, match=message):
        rollout.action_values(
            **arguments(), key=jax.random.key(0), num_rollouts=num_rollouts, chunk_size=chunk_size
        )


# --- cost


def test_memory_and_program_do_not_grow_with_the_number_of_rollouts():
    model = generator.lstm(50, 8, 16)
    params = jax.eval_shape(model.init, jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((8, 6), jnp.int32)
    key = jax.eval_shape(lambda: jax.random.key(0))

    def compiled(num_rollouts, chunk_size):
        def estimate(params, tokens, key):
            return rollout.action_values(
                model, params, digits_reward(2), tokens, key,
                num_rollouts=num_rollouts, chunk_size=chunk_size,
            )  # fmt: skip

        return jax.jit(estimate).lower(params, tokens, key).compile()

    few, many, wide = compiled(8, 2), compiled(32, 2), compiled(8, 8)
    assert len(many.as_text()) < 1.05 * len(few.as_text())
    analyses = [program.memory_analysis() for program in (few, many, wide)]
    if any(analysis is None for analysis in analyses):
        pytest.skip("this backend does not tell how much memory a program takes")
    few, many, wide = (analysis.temp_size_in_bytes for analysis in analyses)
    assert abs(many - few) <= 0.1 * few
    assert wide > 1.5 * few  # what grows with the rollouts in flight is seen at all


def test_the_finished_sequence_is_rewarded_once():
    """Whatever N is; rollouts are rewarded chunk by chunk, none of them twice."""
    shapes = []

    def reward(tokens, mask):
        shapes.append(tokens.shape)
        return jnp.zeros(tokens.shape[:-1])

    with jax.disable_jit():
        action_values(
            chain_model(5), successor_logits(5), reward, random_tokens(2, 4, 5),
            num_rollouts=6, chunk_size=2,
        )  # fmt: skip
    assert shapes.count((2, 4)) == 1
    # Two rollouts of prefixes 1, 2, 3 fill three slots of two completions: [6, B, T] a chunk.
    assert shapes.count((6, 2, 4)) == len(shapes) - 1
    assert 3 <= len(shapes) - 1 <= 4  # three chunks, and one look at the shape of a chunk's sum
