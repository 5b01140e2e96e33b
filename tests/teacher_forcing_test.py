import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.models import generator, teacher_forcing

V, E, H = 11, 4, 5
START = 2  # not 0, so that a start token of 0 hard-wired somewhere would show
STEP = jax.jit(lambda language_model, *arguments: language_model.step(*arguments), static_argnums=0)


def model_and_params(make=generator.lstm, seed=0):
    rng = np.random.default_rng(seed)
    gates = {generator.lstm: 4, generator.gru: 3}[make]
    shapes = {
        "embedding": (V, E),
        "input_kernel": (E, gates * H),
        "recurrent_kernel": (H, gates * H),
        "bias": (gates * H,),
        "output_kernel": (H, V),
        "output_bias": (V,),
    }
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return make(V, E, H, START), jax.tree.map(jnp.asarray, params)


def without_linear_output(language_model):
    return dataclasses.replace(language_model, features=None, output=None)


def random_tokens(batch_size, length, seed=0):
    return np.random.default_rng(seed).integers(0, V, (batch_size, length)).astype(np.int32)


def reference(language_model, params, tokens):
    """Steps through the model one token at a time; log-softmax in float64. `[B, T]`."""
    state = language_model.initial_state(params, len(tokens))
    fed = np.full(len(tokens), START, np.int32)
    result = []
    for token in tokens.T:
        state, logits = STEP(language_model, params, state, fed)
        logits = np.asarray(logits, np.float64)
        highest = logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(logits - highest).sum(axis=1)) + highest[:, 0]
        result.append(logits[np.arange(len(tokens)), token] - log_sum)
        fed = token
    return np.stack(result, axis=1)


@pytest.mark.parametrize(
    ("make", "batch_size", "length"),
    [(generator.lstm, 57, 9), (generator.lstm, 3, 1), (generator.gru, 3, 5)],
)
def test_log_probs_are_the_log_softmax_at_the_targets(make, batch_size, length):
    language_model, params = model_and_params(make)
    tokens = random_tokens(batch_size, length)
    result = teacher_forcing.log_probs(language_model, params, tokens)
    assert result.shape == (batch_size, length)
    assert result.dtype == jnp.float32
    expected = reference(language_model, params, tokens)
    assert expected.std() > 0.2
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


# B * T rows against blocks of 512: below, equal, and two blocks and a bit.
@pytest.mark.parametrize(("batch_size", "length"), [(3, 5), (64, 8), (103, 10)])
def test_both_paths_have_the_same_values_and_gradients(batch_size, length):
    language_model, params = model_and_params(seed=1)
    tokens = random_tokens(batch_size, length, seed=1)
    # Weights of both signs and some zeros, as advantages and masks are.
    weights = np.random.default_rng(2).normal(size=tokens.shape).astype(np.float32)
    weights[np.abs(weights) < 0.2] = 0.0

    @jax.jit
    def results(params):
        def values_and_gradient(model):
            values = teacher_forcing.log_probs(model, params, tokens)
            values_with_gradient, pull_back = jax.vjp(
                lambda params: teacher_forcing.log_probs(model, params, tokens), params
            )
            return values, values_with_gradient, pull_back(jnp.asarray(weights))[0]

        generic = without_linear_output(language_model)
        return values_and_gradient(language_model), values_and_gradient(generic)

    fast, generic = results(params)
    for index in range(2):
        np.testing.assert_allclose(fast[index], generic[index], rtol=1e-4, atol=1e-5)
    for name, expected in generic[2].items():
        largest = np.abs(expected).max()
        assert largest > 1e-3, name
        np.testing.assert_allclose(
            fast[2][name], expected, rtol=1e-3, atol=1e-5 * largest, err_msg=name
        )


def test_gradient_of_the_linear_layer_by_hand():
    # Features 0, so every token has probability 1/2 and only the bias moves:
    # d log p(target 1) / d bias = onehot(1) - (1/2, 1/2) = (-1/2, 1/2).
    # Features f: d / d kernel = outer(f, that); here f = 0, so 0. d / d f = kernel @ that.
    features, targets = jnp.zeros((1, 1)), jnp.array([1])
    kernel, bias = jnp.array([[2.0, 6.0]]), jnp.zeros(2)

    def total(features, kernel, bias):
        return teacher_forcing.linear_log_probs(features, kernel, bias, targets).sum()

    value, gradients = jax.value_and_grad(total, argnums=(0, 1, 2))(features, kernel, bias)
    np.testing.assert_allclose(value, np.log(0.5), rtol=1e-6)
    # 2 * (-1/2) + 6 * 1/2 = 2
    np.testing.assert_allclose(gradients[0], [[2.0]], rtol=1e-6)
    np.testing.assert_allclose(gradients[1], [[0.0, 0.0]], atol=1e-7)
    np.testing.assert_allclose(gradients[2], [-0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize(("generic", "batch_size", "length"), [(False, 130, 5), (True, 6, 4)])
def test_large_logits_stay_finite(generic, batch_size, length):
    language_model, params = model_and_params(seed=3)
    tokens = random_tokens(batch_size, length, seed=3)
    model = without_linear_output(language_model) if generic else language_model

    def total(params):
        result = teacher_forcing.log_probs(model, params, tokens)
        return result.sum(), result

    value_and_grad = jax.jit(jax.value_and_grad(total, has_aux=True))
    # Logits from -200 to 0, then from 0 to 200: exp overflows above 88 and underflows below -104,
    # so a plain sum of exponentials gives inf or log 0.
    for middle in (-100, 100):
        bias = np.linspace(-100, 100, V, dtype=np.float32) + np.float32(middle)
        shifted = {**params, "output_bias": jnp.asarray(bias)}
        expected = reference(language_model, shifted, tokens)
        assert expected.min() < -150
        (_, result), gradient = value_and_grad(shifted)
        chex.assert_tree_all_finite((result, gradient))
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
        # The forward pass alone takes another way through the code than that under grad.
        result = teacher_forcing.log_probs(model, shifted, tokens)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_probabilities_of_all_sequences_sum_to_one():
    language_model, params = model_and_params(seed=4)
    every_pair = np.stack(np.meshgrid(np.arange(V), np.arange(V)), -1).reshape(-1, 2)
    log_probs = teacher_forcing.log_probs(language_model, params, every_pair.astype(np.int32))
    np.testing.assert_allclose(np.exp(log_probs.sum(axis=1)).sum(), 1.0, rtol=1e-5)


@pytest.mark.parametrize(("make", "length"), [(generator.lstm, 6), (generator.gru, 4)])
def test_prefix_states_precede_their_positions(make, length):
    language_model, params = model_and_params(make, seed=5)
    tokens = random_tokens(3, length, seed=5)
    states = jax.jit(teacher_forcing.prefix_states, static_argnums=0)(
        language_model, params, tokens
    )
    for leaf in jax.tree.leaves(states):
        assert leaf.shape == (length, 3, H)
    expected = reference(language_model, params, tokens)
    for t in range(length):
        fed = tokens[:, t - 1] if t else np.full(3, START, np.int32)
        _, logits = STEP(language_model, params, jax.tree.map(lambda leaf: leaf[t], states), fed)
        log_probs = jax.nn.log_softmax(logits)[np.arange(3), tokens[:, t]]
        np.testing.assert_allclose(log_probs, expected[:, t], rtol=1e-4, atol=1e-5)


def test_shifted_inputs():
    language_model, _ = model_and_params()
    shifted = teacher_forcing.shifted_inputs(language_model, jnp.array([[5, 6, 7], [8, 9, 10]]))
    np.testing.assert_array_equal(shifted, [[START, 5, 6], [START, 8, 9]])


def test_log_probs_need_a_batch_axis():
    language_model, params = model_and_params()
    with pytest.raises(AssertionError):
        teacher_forcing.log_probs(language_model, params, jnp.zeros(4, jnp.int32))
