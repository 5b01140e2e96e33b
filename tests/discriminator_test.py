import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.hparams import FILTERS_20, FILTERS_32
from seqgan_jax.models import discriminator

V, E, T = 9, 4, 6
FILTERS = ((1, 3), (2, 4), (5, 2))


def make(softmax_head=False, **kwargs):
    return discriminator.text_cnn(V, E, FILTERS, softmax_head=softmax_head, **kwargs)


def random_params(classifier, seed=0):
    """Normal parameters: unlike the initial ones, no bias is zero and no two are alike."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(classifier.init, jax.random.key(0))
    return jax.tree.map(lambda s: jnp.asarray(0.7 * rng.normal(size=s.shape), s.dtype), shapes)


def random_batch(batch_size, length=T, seed=0):
    """Tokens and a mask of every length in turn, the longest first."""
    rng = np.random.default_rng(seed)
    tokens = jnp.asarray(rng.integers(0, V, (batch_size, length)), jnp.int32)
    lengths = length - np.arange(batch_size) % length
    return tokens, jnp.asarray(np.arange(length)[None] < lengths[:, None])


@functools.partial(jax.jit, static_argnums=0)
def logits_of(classifier, params, tokens, mask, dropout_key=None):
    return classifier.apply(params, classifier.embed(params, tokens), mask, dropout_key)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def reference(params, tokens, mask, softmax_head):
    """The network in float64, one window and one filter at a time."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    result = []
    for row, real in zip(np.asarray(tokens), np.asarray(mask), strict=True):
        words = p["embedding"][row[: real.sum()]]
        pooled = []
        for width, number in FILTERS:
            layer = p[f"width_{width}"]
            for n in range(number):
                best = 0.0  # of no window at all, and the floor of a ReLU
                for start in range(len(words) - width + 1):
                    value = layer["bias"][n]
                    for i in range(width):
                        value += words[start + i] @ layer["kernel"][i * E : (i + 1) * E, n]
                    best = max(best, value)
                pooled.append(best)
        x = np.array(pooled)
        gate = sigmoid(x @ p["highway_gate"]["kernel"] + p["highway_gate"]["bias"])
        transformed = np.maximum(
            x @ p["highway_transform"]["kernel"] + p["highway_transform"]["bias"], 0
        )
        x = gate * transformed + (1 - gate) * x
        scores = x @ p["output"]["kernel"] + p["output"]["bias"]
        if softmax_head:
            # The logit of softmax's second probability, the share of "real".
            probability = np.exp(scores[1]) / np.exp(scores).sum()
            result.append(np.log(probability / (1 - probability)))
        else:
            result.append(scores[0])
    return np.array(result)


@pytest.mark.parametrize("softmax_head", [False, True])
def test_logits_follow_the_numpy_reference(softmax_head):
    classifier = make(softmax_head)
    params = random_params(classifier)
    # Lengths 6, 5, 4, 3, 2, 1: the widest filter fits the first two only.
    tokens, mask = random_batch(6)
    logits = logits_of(classifier, params, tokens, mask)
    expected = reference(params, tokens, mask, softmax_head)
    assert expected.std() > 0.3
    assert logits.shape == (6,)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_padding_changes_neither_logit_nor_gradient():
    classifier = make()
    params = random_params(classifier, seed=1)
    tokens, mask = random_batch(6, seed=1)
    weights = jnp.linspace(-1.0, 2.0, 6)

    @jax.jit
    def evaluate(params, tokens, mask):
        def total(params):
            logits = logits_of(classifier, params, tokens, mask)
            return (weights * logits).sum(), logits

        return jax.grad(total, has_aux=True)(params)

    gradient, logits = evaluate(params, tokens, mask)
    rng = np.random.default_rng(2)
    for seed in range(2):
        noise = jnp.asarray(rng.integers(0, V, tokens.shape), jnp.int32)
        disturbed = jnp.where(mask, tokens, noise)
        if seed:  # and a longer padding
            disturbed = jnp.concatenate([disturbed, noise[:, :4]], axis=1)
            longer_mask = jnp.pad(mask, ((0, 0), (0, 4)))
        else:
            longer_mask = mask
        other_gradient, other_logits = evaluate(params, disturbed, longer_mask)
        np.testing.assert_allclose(other_logits, logits, rtol=1e-6, atol=1e-6)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            other_gradient,
            gradient,
        )
    # What the mask does cover counts.
    _, changed = evaluate(params, (tokens + 1) % V, mask)
    assert np.abs(changed - logits).min() > 1e-4


def test_a_filter_wider_than_the_sequence_is_refused():
    classifier = make()
    params = random_params(classifier)
    tokens, mask = random_batch(2, length=4)
    with pytest.raises(ValueError, match=r"width 5 .*T=4"):
        logits_of(classifier, params, tokens, mask)


@pytest.mark.parametrize("filters", [(), ((0, 3),), ((2, 0),), ((1, 1), (-1, 4))])
def test_bad_filters_are_refused(filters):
    with pytest.raises(ValueError, match="filters="):
        discriminator.text_cnn(V, E, filters)


def test_a_sequence_as_long_as_the_widest_filter_fits():
    classifier = make()
    params = random_params(classifier, seed=3)
    tokens, mask = random_batch(2, length=5, seed=3)
    np.testing.assert_allclose(
        logits_of(classifier, params, tokens, mask),
        reference(params, tokens, mask, False),
        rtol=1e-4,
        atol=1e-5,
    )


def test_embedding_of_distributions():
    classifier = make()
    params = random_params(classifier, seed=4)
    tokens, _ = random_batch(3, seed=4)
    one_hot = jax.nn.one_hot(tokens, V)
    by_id = classifier.embed(params, tokens)
    assert by_id.shape == (3, T, E)
    np.testing.assert_allclose(by_id, params["embedding"][tokens], rtol=1e-6)
    np.testing.assert_allclose(classifier.embed(params, one_hot), by_id, rtol=1e-6)
    # Half of one token and half of the next is halfway between them.
    mixed = 0.5 * one_hot + 0.5 * jnp.roll(one_hot, 1, axis=1)
    expected = 0.5 * by_id + 0.5 * jnp.roll(by_id, 1, axis=1)
    np.testing.assert_allclose(classifier.embed(params, mixed), expected, rtol=1e-5, atol=1e-6)


def test_dropout_needs_a_key_and_keeps_the_expectation():
    rate = 0.25
    classifier = make(dropout_rate=rate)
    params = random_params(classifier, seed=5)
    tokens, mask = random_batch(4, seed=5)
    apply = functools.partial(logits_of, classifier, params, tokens, mask)
    certain = np.asarray(logits_of(classifier, params, tokens, mask))
    expected = reference(params, tokens, mask, False)
    np.testing.assert_allclose(certain, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(apply(jax.random.key(1)), apply(jax.random.key(1)))
    assert np.abs(apply(jax.random.key(1)) - apply(jax.random.key(2))).max() > 1e-3
    count = 2000
    keys = jax.random.split(jax.random.key(3), count)
    dropped = np.asarray(jax.jit(jax.vmap(apply))(keys), np.float64)
    # The output layer is linear in what is dropped: the logit's expectation is the plain logit.
    tolerance = 5 * dropped.std(axis=0) / np.sqrt(count)
    assert (np.abs(dropped.mean(axis=0) - certain) <= tolerance).all()
    # Features are dropped one by one: were they dropped together, two values would occur.
    assert len(np.unique(dropped[:, 0].round(4))) > 20


@pytest.mark.parametrize(("softmax_head", "expected"), [(False, 3.0), (True, 7.0)])
def test_penalty_is_half_the_squared_norm_of_the_output_layer(softmax_head, expected):
    classifier = make(softmax_head)
    params = random_params(classifier, seed=6)
    units = 2 if softmax_head else 1
    # 9 features: 5 weights of 1 a unit, the rest 0, and biases 1 (and 2):
    # one unit: (5 + 1) / 2 = 3; two units: (5 + 5 + 1 + 4) / 2 = 7.5 less a weight of 1: 7.
    kernel = np.zeros((9, units), np.float32)
    kernel[:5] = 1.0
    bias = np.array([1.0, 2.0], np.float32)[:units]
    if softmax_head:
        kernel[0, 0] = 0.0
    assert params["output"]["kernel"].shape == kernel.shape
    params = {**params, "output": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}}
    np.testing.assert_allclose(classifier.penalty(params), expected, rtol=1e-6)
    gradient = jax.grad(classifier.penalty)(params)
    np.testing.assert_allclose(gradient["output"]["kernel"], kernel)
    np.testing.assert_allclose(gradient["output"]["bias"], bias)
    rest = [leaf for name, part in gradient.items() if name != "output"
            for leaf in jax.tree.leaves(part)]  # fmt: skip
    assert all((np.asarray(leaf) == 0).all() for leaf in rest)


def test_initial_distributions():
    filters = ((1, 100), (3, 150))
    classifier = discriminator.text_cnn(500, 40, filters)
    params = jax.jit(classifier.init)(jax.random.key(0))
    # Uniform in [-1, 1): standard deviation 1 / sqrt(3); 20,000 values reach both ends.
    embedding = np.asarray(params["embedding"])
    assert embedding.min() >= -1
    assert embedding.min() < -0.99
    assert embedding.max() <= 1
    assert embedding.max() > 0.99
    assert abs(embedding.mean()) < 5 / np.sqrt(3 * embedding.size)
    assert abs(embedding.std() * np.sqrt(3) - 1) < 0.02
    for width, number in filters:
        layer = params[f"width_{width}"]
        kernel = np.asarray(layer["kernel"])
        assert kernel.shape == (width * 40, number)
        # Truncated at two standard deviations. TensorFlow's truncated_normal(0.1), the original's,
        # and Flax's alike do not scale back: what is left has standard deviation 0.0880.
        assert np.abs(kernel).max() <= 0.2
        assert np.abs(kernel).max() > 0.19
        assert abs(kernel.std() - 0.0880) < 0.004
        np.testing.assert_array_equal(layer["bias"], np.float32(0.1))
    for name in ("highway_transform", "highway_gate"):
        assert params[name]["kernel"].shape == (250, 250)
        np.testing.assert_array_equal(params[name]["bias"], 0.0)
    assert params["output"]["kernel"].shape == (250, 1)
    assert np.abs(params["output"]["kernel"]).max() <= 0.2
    np.testing.assert_array_equal(params["output"]["bias"], np.float32(0.1))


def test_the_papers_filters():
    # 100 + 4 * 200 + 5 * 100 + 2 * 160 = 1720; for T = 32: 1400 + 3 * 160 = 1880.
    for filters, features, length in [(FILTERS_20, 1720, 20), (FILTERS_32, 1880, 32)]:
        assert max(width for width, _ in filters) == length
        classifier = discriminator.text_cnn(V, E, filters)
        shapes = jax.eval_shape(classifier.init, jax.random.key(0))
        assert shapes["highway_gate"]["kernel"].shape == (features, features)
        assert shapes["output"]["kernel"].shape == (features, 1)


def test_equal_arguments_give_the_same_record():
    one = discriminator.text_cnn(V, E, FILTERS)
    assert discriminator.text_cnn(V, E, [list(pair) for pair in FILTERS]) is one
    assert discriminator.text_cnn(vocab_size=V, embed_dim=E, filters=FILTERS) is one
    assert discriminator.text_cnn(V, E, FILTERS, softmax_head=True) is not one
