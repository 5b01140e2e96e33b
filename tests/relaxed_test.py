"""Relaxed samples: the categorical as their limit, and their gradients, by hand where they can be.

Chi-square tests are at the level 1e-4, of fixed seeds; critical values from SciPy's chi2.ppf.
"""

import dataclasses
import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.models.embedding import look_up
from seqgan_jax.models.generator import lstm
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.relaxed import (
    one_hots,
    relaxation_temperature,
    relaxed_sample,
    softmax_outputs,
)
from seqgan_jax.types import LanguageModel, mask_until_end

V, T = 3, 3
# Logits of the next token are the row of the token fed, mixed by it if it is a distribution.
TABLE = LanguageModel(
    vocab_size=V,
    init=lambda key: jax.random.normal(key, (V, V)),
    initial_state=lambda params, batch_size: jnp.zeros((batch_size, 0)),
    step=lambda params, state, token: (state, look_up(params, token)),
    start_token=1,
    takes_distributions=True,
)
LSTM = lstm(V, 2, 3, init_scale=1.0)
ENDING = dataclasses.replace(TABLE, end_token=2, pad_token=0)
LOGITS = jnp.array([[0.0, 0.0, 0.0], [1.0, -0.5, 0.2], [0.3, 0.7, -1.0]])  # of TABLE
CRITICAL = {2: 18.42, 8: 31.83}  # chi2.ppf(1 - 1e-4, degrees of freedom)


@functools.cache
def lstm_params():
    return jax.jit(LSTM.init)(jax.random.key(3))


def chi_square(counts, probabilities):
    expected = np.sum(counts) * np.asarray(probabilities, np.float64)
    return np.sum((np.asarray(counts, np.float64) - expected) ** 2 / expected)


# The categorical as the limit.


@functools.cache
def one_position(temperature, straight_through=False):
    return relaxed_sample(
        TABLE, LOGITS, jax.random.key(0), batch_size=20_000, length=1, temperature=temperature,
        straight_through=straight_through,
    )  # fmt: skip


@pytest.mark.parametrize("temperature", [0.01, 1.0, 5.0])
def test_tokens_are_exact_draws_at_any_temperature(temperature):
    counts = np.bincount(np.asarray(one_position(temperature).tokens[:, 0]), minlength=V)
    assert chi_square(counts, jax.nn.softmax(LOGITS[1])) < CRITICAL[2]
    # The same measure refuses a distribution that is near but not it.
    assert chi_square(counts, jax.nn.softmax(0.9 * LOGITS[1])) > CRITICAL[2]


def test_mean_of_relaxed_samples_tends_to_the_categorical_as_the_temperature_falls():
    exact = jax.nn.softmax(LOGITS[1])

    def distance_from_categorical(temperature):
        return chi_square(one_position(temperature).probs.sum(axis=(0, 1)), exact)

    assert distance_from_categorical(0.01) < CRITICAL[2]
    assert distance_from_categorical(5.0) > 100 * CRITICAL[2]
    peaks = [float(one_position(each).probs.max(axis=-1).mean()) for each in (5.0, 1.0, 0.1, 0.01)]
    assert peaks == sorted(peaks)
    assert peaks[0] < 0.5
    assert peaks[-1] > 0.99


@pytest.mark.parametrize(
    ("temperature", "straight_through", "exact"),
    [(0.005, False, True), (5.0, True, True), (5.0, False, False)],
)
def test_whole_sequences_are_exact_draws_where_one_hots_are_fed_back(
    temperature, straight_through, exact
):
    params = lstm_params()
    drawn = relaxed_sample(
        LSTM, params, jax.random.key(1), batch_size=20_000, length=2, temperature=temperature,
        straight_through=straight_through,
    )  # fmt: skip
    every = jnp.asarray(list(itertools.product(range(V), repeat=2)))
    probabilities = jnp.exp(log_probs(LSTM, params, every).sum(axis=1))
    counts = np.bincount(np.asarray(drawn.tokens @ jnp.array([V, 1])), minlength=V**2)
    assert (chi_square(counts, probabilities) < CRITICAL[8]) == exact


# What a position is.


@pytest.mark.parametrize("straight_through", [False, True])
def test_noise_is_on_the_logits_and_what_is_drawn_is_fed_back(straight_through):
    params, key = lstm_params(), jax.random.key(5)
    drawn = relaxed_sample(
        LSTM, params, key, batch_size=4, length=T, temperature=0.7,
        straight_through=straight_through,
    )  # fmt: skip
    state, fed = LSTM.initial_state(params, 4), jnp.zeros((4,), jnp.int32)
    for position in range(T):
        state, logits = LSTM.step(params, state, fed)
        # -log(-log(uniform)) added to them, under a key of the position's own.
        noise = jax.random.gumbel(jax.random.fold_in(key, position), (4, V))
        expected = jax.nn.softmax((logits + noise) / 0.7)
        if straight_through:
            expected = jnp.asarray(np.eye(V, dtype=np.float32)[np.argmax(expected, axis=-1)])
        np.testing.assert_allclose(drawn.probs[:, position], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(drawn.tokens[:, position], np.argmax(expected, axis=-1))
        fed = expected


def test_straight_through_values_are_one_hots_to_the_bit():
    drawn = one_position(1.0, straight_through=True)
    np.testing.assert_array_equal(drawn.probs, np.eye(V)[np.asarray(drawn.tokens)])
    relaxed = one_position(1.0)
    np.testing.assert_array_equal(drawn.tokens, relaxed.tokens)
    assert 0.3 < relaxed.probs.max(axis=-1).min() < 0.5  # those are soft


def test_a_positions_draw_does_not_depend_on_the_length():
    draw = functools.partial(relaxed_sample, ENDING, LOGITS, batch_size=64, temperature=0.5)
    short, long = (draw(jax.random.key(1), length=length) for length in (2, 4))
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[:, :2], long), short, rtol=1e-6)


# Gradients.

TEMPERATURE = 0.6
WEIGHTS = np.array([[0.3, -1.0, 0.5], [2.0, 0.1, -0.7]])  # of the loss sum(WEIGHTS * probs), T = 2


@functools.cache
def gradient_of_linear_loss(straight_through):
    """In the table of logits: as the library has it, and by hand in NumPy."""
    key = jax.random.key(4)

    def loss_of(table):
        drawn = relaxed_sample(
            TABLE, table, key, batch_size=1, length=2, temperature=TEMPERATURE,
            straight_through=straight_through,
        )  # fmt: skip
        return (drawn.probs[0] * jnp.asarray(WEIGHTS, jnp.float32)).sum()

    table = np.asarray(LOGITS, np.float64)
    noise = [np.asarray(jax.random.gumbel(jax.random.fold_in(key, t), (1, V)))[0] for t in (0, 1)]

    def softmax_and_jacobian(logits):
        probs = np.exp(logits / TEMPERATURE) / np.exp(logits / TEMPERATURE).sum()
        return probs, (np.diag(probs) - np.outer(probs, probs)) / TEMPERATURE

    first, first_jacobian = softmax_and_jacobian(table[1] + noise[0])  # the start token is 1
    fed = np.eye(V)[first.argmax()] if straight_through else first
    _, second_jacobian = softmax_and_jacobian(fed @ table + noise[1])
    # The second position's logits are fed @ table: they pass its gradient on to both factors.
    through_second = second_jacobian @ WEIGHTS[1]
    through_first = first_jacobian @ (WEIGHTS[0] + table @ through_second)
    by_hand = np.outer(np.eye(V)[1], through_first) + np.outer(fed, through_second)
    return np.asarray(jax.jit(jax.grad(loss_of))(LOGITS)), by_hand


@pytest.mark.parametrize("straight_through", [False, True])
def test_gradient_by_hand(straight_through):
    gradient, by_hand = gradient_of_linear_loss(straight_through)
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-4, atol=1e-6)
    # What was fed makes a difference, but both are gradients of softmaxes.
    assert np.abs(by_hand - gradient_of_linear_loss(not straight_through)[1]).max() > 0.05


def test_straight_through_gradient_of_one_position_is_the_relaxed_one():
    def gradient(straight_through):
        def loss_of(table):
            drawn = relaxed_sample(
                TABLE, table, jax.random.key(6), batch_size=5, length=1, temperature=TEMPERATURE,
                straight_through=straight_through,
            )  # fmt: skip
            return (drawn.probs * jnp.array([[[0.3, -1.0, 0.5]]])).sum()

        return jax.jit(jax.value_and_grad(loss_of))(LOGITS)

    (relaxed_value, relaxed), (hard_value, hard) = gradient(False), gradient(True)
    np.testing.assert_allclose(hard, relaxed, rtol=1e-6)
    assert jnp.abs(relaxed).max() > 0.1
    assert abs(relaxed_value - hard_value) > 0.1


def test_relaxed_gradient_is_that_of_finite_differences_through_feedback():
    params = lstm_params()
    weights = jax.random.normal(jax.random.key(9), (4, T, V))

    @jax.jit
    def loss_of(params):
        drawn = relaxed_sample(
            LSTM, params, jax.random.key(7), batch_size=4, length=T, temperature=1.0
        )
        return (weights * jnp.square(drawn.probs)).sum()

    gradient = jax.jit(jax.grad(loss_of))(params)
    for seed in range(3):
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        direction = jax.tree.unflatten(
            structure,
            [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)],
        )
        along = sum(map(jnp.vdot, jax.tree.leaves(gradient), jax.tree.leaves(direction)))

        def moved(step):
            return loss_of(jax.tree.map(lambda leaf, d: leaf + step * d, params, direction))

        # float32: an error of the step squared, and one of rounding over the step.
        np.testing.assert_allclose((moved(5e-3) - moved(-5e-3)) / 1e-2, along, rtol=5e-3, atol=2e-3)
        assert abs(along) > 0.05


# Sequences that end.


@pytest.mark.parametrize("straight_through", [False, True])
def test_behind_the_end_are_zeros_and_padding(straight_through):
    drawn = relaxed_sample(
        ENDING, LOGITS, jax.random.key(1), batch_size=64, length=4, temperature=0.5,
        straight_through=straight_through,
    )  # fmt: skip
    mask = np.asarray(drawn.mask)
    assert set(mask.sum(axis=1)) == {1, 2, 3, 4}
    np.testing.assert_array_equal(mask, mask_until_end(drawn.tokens, ENDING.end_token))
    np.testing.assert_allclose(drawn.probs.sum(axis=-1), mask, rtol=1e-5)
    assert (np.asarray(drawn.probs)[~mask] == 0).all()
    assert (np.asarray(drawn.tokens)[~mask] == ENDING.pad_token).all()
    peaks = np.asarray(jnp.argmax(drawn.probs, axis=-1))
    np.testing.assert_array_equal(peaks[mask], np.asarray(drawn.tokens)[mask])


def test_no_gradient_comes_from_behind_the_end():
    def gradient(visible):
        def loss_of(params):
            drawn = relaxed_sample(
                ENDING, LOGITS, jax.random.key(1), batch_size=64, length=4, temperature=0.5
            )
            shown = drawn.mask if visible else jnp.ones_like(drawn.mask)
            return (shown[..., None] * jnp.square(drawn.probs + 1.0)).sum()

        return jax.jit(jax.grad(loss_of))(LOGITS)

    chex.assert_trees_all_close(gradient(True), gradient(False), rtol=1e-5, atol=1e-6)


# Along given sequences.


@pytest.mark.parametrize("has_features", [True, False])
def test_softmax_outputs_are_the_models_probabilities(has_features):
    model = LSTM if has_features else dataclasses.replace(LSTM, features=None, output=None)
    params = lstm_params()
    tokens = jax.random.randint(jax.random.key(3), (6, T), 0, V)
    outputs = softmax_outputs(model, params, tokens, jnp.ones(tokens.shape, bool))
    np.testing.assert_allclose(outputs.sum(axis=-1), 1.0, rtol=1e-5)
    chosen = jnp.take_along_axis(outputs, tokens[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(jnp.log(chosen), log_probs(model, params, tokens), rtol=1e-4)


def test_softmax_outputs_behind_the_end_are_zeros_whatever_stands_there():
    tokens = jnp.array([[1, 2, 0, 0], [0, 1, 1, 2]])
    mask = mask_until_end(tokens, ENDING.end_token)
    outputs = softmax_outputs(ENDING, LOGITS, tokens, mask)
    assert (outputs[0, 2:] == 0).all()
    other = softmax_outputs(ENDING, LOGITS, tokens.at[0, 2:].set(1), mask)
    np.testing.assert_array_equal(outputs, other)


def test_softmax_outputs_gradient_by_hand():
    # Of one position: dL/dlogits = (diag(p) - p p^T) w, and no other row of the table is asked.
    weights = jnp.array([1.0, -2.0, 0.5])

    def loss_of(table):
        ones = jnp.ones((1, 1), bool)
        return (softmax_outputs(TABLE, table, jnp.array([[0]]), ones)[0, 0] * weights).sum()

    p, expected = np.asarray(jax.nn.softmax(LOGITS[1])), np.zeros((V, V))
    expected[1] = (np.diag(p) - np.outer(p, p)) @ np.asarray(weights)
    np.testing.assert_allclose(jax.grad(loss_of)(LOGITS), expected, rtol=1e-5, atol=1e-7)


def test_one_hots():
    tokens, mask = jnp.array([[2, 0]]), jnp.array([[True, False]])
    np.testing.assert_array_equal(one_hots(tokens, mask, V), [[[0, 0, 1], [0, 0, 0]]])


# The schedule.


@pytest.mark.parametrize(
    ("updates", "expected"),
    [(0, 2.0), (1, 1.8096748), (10, 0.7357589), (15, 0.5), (10_000_000, 0.5)],  # 2 exp(-0.1 n)
)
def test_relaxation_temperature(updates, expected):
    result = relaxation_temperature(updates, start=2.0, least=0.5, fall=0.1)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    assert result.dtype == jnp.float32


def test_a_falling_temperature_does_not_retrace():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def draw(temperature):
        return relaxed_sample(
            TABLE, LOGITS, jax.random.key(0), batch_size=2, length=2, temperature=temperature
        )

    first, second = draw(jnp.asarray(1.0)), draw(jnp.asarray(0.5))
    assert (second.probs.max(axis=-1) > first.probs.max(axis=-1)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"length": 0}, "length=0"),
        ({"temperature": 0.0}, r"temperature=0\.0"),
        ({"temperature": -1}, "temperature=-1"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"language_model": dataclasses.replace(TABLE, takes_distributions=False)}, "must take"),
    ],
)
def test_bad_arguments_are_refused(changed, message):
    arguments = {"language_model": TABLE, "batch_size": 2, "length": 2, "temperature": 1.0}
    with pytest.raises(ValueError, match=message):
        relaxed_sample(params=LOGITS, key=jax.random.key(0), **{**arguments, **changed})
