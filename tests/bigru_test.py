"""The bidirectional GRU against one written with loops, and what it must not read."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.models.bigru import bigru

V, E, H, T = 7, 3, 4, 6
CLASSIFIER = bigru(V, E, H, dropout_rate=0.25)


def random_params(seed=0):
    """Normal parameters: unlike the initial ones, no bias is zero and no two are alike."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(CLASSIFIER.init, jax.random.key(0))
    return jax.tree.map(lambda s: jnp.asarray(0.7 * rng.normal(size=s.shape), s.dtype), shapes)


def random_batch(seed=0):
    """Tokens and a mask of every length, 6 to 1."""
    tokens = np.random.default_rng(seed).integers(0, V, (T, T))
    mask = np.arange(T)[None] < T - np.arange(T)[:, None]
    return jnp.asarray(tokens, jnp.int32), jnp.asarray(mask)


@jax.jit
def judged(params, tokens, mask, dropout_key=None):
    """Logits and features."""
    embedded = CLASSIFIER.embed(params, tokens)
    logits = CLASSIFIER.apply(params, embedded, mask, dropout_key)
    return logits, CLASSIFIER.features(params, embedded, mask, dropout_key)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def run(cell, words):
    """The state after the words given, of a GRU as PyTorch and cuDNN have it."""
    h = np.zeros(H)
    for x in words:
        r = sigmoid(x @ cell["ir"]["kernel"] + cell["ir"]["bias"] + h @ cell["hr"]["kernel"])
        z = sigmoid(x @ cell["iz"]["kernel"] + cell["iz"]["bias"] + h @ cell["hz"]["kernel"])
        remembered = h @ cell["hn"]["kernel"] + cell["hn"]["bias"]
        n = np.tanh(x @ cell["in"]["kernel"] + cell["in"]["bias"] + r * remembered)
        h = (1 - z) * n + z * h
    return h


def reference(params, tokens, mask):
    """Logits and features in float64, one sequence and one token at a time."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    logits, features = [], []
    for row, real in zip(np.asarray(tokens), np.asarray(mask), strict=True):
        words = p["embedding"][row[: real.sum()]]
        states = [run(p["forward"]["cell"], words), run(p["backward"]["cell"], words[::-1])]
        joint = np.concatenate(states) @ p["joint"]["kernel"] + p["joint"]["bias"]
        features.append(np.tanh(joint))
        logits.append(features[-1] @ p["output"]["kernel"][:, 0] + p["output"]["bias"][0])
    return np.array(logits), np.array(features)


def test_logits_and_features_follow_the_numpy_reference():
    params, (tokens, mask) = random_params(), random_batch()
    logits, features = judged(params, tokens, mask)
    expected_logits, expected_features = reference(params, tokens, mask)
    assert expected_logits.std() > 0.1
    assert logits.shape == (T,)
    assert features.shape == (T, H)
    assert logits.dtype == features.dtype == jnp.float32
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features, expected_features, rtol=1e-4, atol=1e-5)


def test_padding_changes_neither_logit_nor_gradient():
    params, (tokens, mask) = random_params(1), random_batch(1)
    weights = jnp.linspace(-1.0, 2.0, T)

    @jax.jit
    def evaluate(params, tokens, mask):
        def total(params):
            logits, _ = judged(params, tokens, mask)
            return (weights * logits).sum(), logits

        return jax.grad(total, has_aux=True)(params)

    gradient, logits = evaluate(params, tokens, mask)
    noise = jnp.asarray(np.random.default_rng(2).integers(0, V, (T, T + 3)), jnp.int32)
    wider_mask = jnp.pad(mask, ((0, 0), (0, 3)))
    wider = jnp.where(wider_mask, jnp.pad(tokens, ((0, 0), (0, 3))), noise)
    for others in [(jnp.where(mask, tokens, noise[:, :T]), mask), (wider, wider_mask)]:
        other_gradient, other_logits = evaluate(params, *others)
        np.testing.assert_allclose(other_logits, logits, rtol=1e-5, atol=1e-6)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
            other_gradient,
            gradient,
        )


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_each_direction_reads_every_real_token(direction):
    # With the other direction's share of the joint layer at zero, what is left is one GRU.
    params, (tokens, mask) = random_params(3), random_batch(3)
    kept = np.arange(2 * H)[:, None] // H == (direction == "backward")
    kernel = jnp.where(kept, params["joint"]["kernel"], 0.0)
    params = {**params, "joint": {**params["joint"], "kernel": kernel}}
    one_hot = jax.nn.one_hot(tokens, V)

    def total(probs):
        return CLASSIFIER.apply(params, CLASSIFIER.embed(params, probs), mask, None).sum()

    reads = np.abs(jax.jit(jax.grad(total))(one_hot)).max(axis=2) > 0
    np.testing.assert_array_equal(reads, mask)


def test_embedding_of_distributions():
    params, (tokens, mask) = random_params(4), random_batch(4)
    one_hot = jax.nn.one_hot(tokens, V)
    by_id = CLASSIFIER.embed(params, tokens)
    assert by_id.shape == (T, T, E)
    np.testing.assert_allclose(CLASSIFIER.embed(params, one_hot), by_id, rtol=1e-6)
    logits, _ = judged(params, tokens, mask)
    relaxed, _ = judged(params, one_hot, mask)
    np.testing.assert_allclose(relaxed, logits, rtol=1e-5, atol=1e-6)


def test_dropout_needs_a_key_and_keeps_the_expectation():
    params, (tokens, mask) = random_params(5), random_batch(5)
    certain, _ = judged(params, tokens, mask)
    keys = jax.random.split(jax.random.key(3), 2000)
    dropped, features = jax.vmap(judged, (None, None, None, 0))(params, tokens, mask, keys)
    # The output layer is linear in what is dropped: the logit's expectation is the plain logit.
    dropped = np.asarray(dropped, np.float64)
    tolerance = 5 * dropped.std(axis=0) / np.sqrt(len(keys))
    assert (np.abs(dropped.mean(axis=0) - certain) <= tolerance).all()
    # 48,000 coins of rate 0.25: a standard deviation of 0.002.
    assert abs((np.asarray(features) == 0).mean() - 0.25) < 0.01


def test_penalty_is_half_the_squared_norm_of_the_output_layer():
    kernel, bias = np.array([[1.0], [2.0], [0.0], [-1.0]]), np.array([2.0])
    params = {**random_params(6), "output": {"kernel": jnp.asarray(kernel), "bias": bias}}
    # (1 + 4 + 0 + 1 + 4) / 2
    np.testing.assert_allclose(CLASSIFIER.penalty(params), 5.0, rtol=1e-6)


def test_initial_parameters():
    params = jax.jit(CLASSIFIER.init)(jax.random.key(0))
    shapes = jax.tree.map(jnp.shape, params)
    assert shapes["embedding"] == (V, E)
    assert shapes["joint"]["kernel"] == (2 * H, H)
    assert shapes["output"] == {"kernel": (H, 1), "bias": (1,)}
    for way in ("forward", "backward"):
        assert shapes[way]["cell"]["in"]["kernel"] == (E, H)
        assert shapes[way]["cell"]["hn"]["kernel"] == (H, H)
    # Each direction has parameters of its own.
    one, other = (params[way]["cell"]["in"]["kernel"] for way in ("forward", "backward"))
    assert not np.allclose(one, other)


def test_it_is_a_record_of_its_arguments():
    assert bigru(V, E, H, dropout_rate=0.25) is CLASSIFIER
    assert bigru(V, E, H, dropout_rate=0.5) is not CLASSIFIER
    assert not CLASSIFIER.is_density
    assert dataclasses.is_dataclass(CLASSIFIER)


@pytest.mark.parametrize("sizes", [(0, 3, 4), (7, 0, 4), (7, 3, 0)])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(ValueError, match=r"hidden_dim=.* must be at least 1"):
        bigru(*sizes)
