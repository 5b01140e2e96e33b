"""Metrics against definitions spelt out and numbers computed by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.metrics.discrimination import accuracy, area_under_curve
from seqgan_jax.metrics.diversity import CopiedFraction, distinct_fraction
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.types import LanguageModel, Samples


def bigram_model():
    """Two tokens: after a 0 both are equally likely; after a 1, 0 has 1/4 and 1 has 3/4."""

    def step(params, state, token):
        return state, jnp.log(params)[token] + 7.0  # logits need not be normalised

    return LanguageModel(
        vocab_size=2,
        init=lambda key: jnp.array([[0.5, 0.5], [0.25, 0.75]]),
        initial_state=lambda params, batch_size: jnp.zeros((batch_size, 1)),
        step=step,
        start_token=1,
    )


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        # Row 1: 1 after start 1, 1 after 1, 0 after 1; row 2: 0 after start 1, 0 after 0, 1 after 0
        # = -(2 ln 3/4 + ln 1/4 + ln 1/4 + 2 ln 1/2) / 6
        ([[1, 1, 1], [1, 1, 1]], (2 * math.log(4 / 3) + 6 * math.log(2)) / 6),
        # Only 1 after start and 1 after 1; and 0 after start: -(2 ln 3/4 + ln 1/4) / 3
        ([[1, 1, 0], [1, 0, 0]], (2 * math.log(4 / 3) + 2 * math.log(2)) / 3),
    ],
)
def test_negative_log_likelihood(mask, expected, jitted):
    model = bigram_model()
    samples = Samples(jnp.array([[1, 1, 0], [0, 0, 1]]), jnp.array(mask, bool))

    def measure(params, samples):
        return negative_log_likelihood(model, params, samples)

    measure = jax.jit(measure) if jitted else measure
    np.testing.assert_allclose(measure(model.init(None), samples), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([[1, 2], [1, 2], [2, 1], [1, 2]], 0.5),  # {12, 21} of 4
        ([[1, 2], [2, 1], [1, 1]], 1.0),
        ([[3, 3]] * 5, 0.2),
    ],
)
def test_distinct_fraction(tokens, expected):
    assert distinct_fraction(np.array(tokens)) == expected


def ngrams(tokens, mask, order):
    """All n-grams that lie inside the mask, as tuples."""
    found = []
    for sequence, inside in zip(tokens, mask, strict=True):
        real = [int(token) for token, kept in zip(sequence, inside, strict=True) if kept]
        found += [tuple(real[i : i + order]) for i in range(len(real) - order + 1)]
    return found


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("ending", [False, True])
def test_copied_fraction_is_that_of_sets_of_tuples(order, ending):
    rng = np.random.default_rng(order)
    vocab_size = {1: 300, 2: 20, 3: 6, 5: 3}[order]  # some n-grams are known, and some are not
    train, fresh = (rng.integers(0, vocab_size, (number, 9)) for number in (30, 50))
    masks = []
    for tokens in (train, fresh):
        lengths = rng.integers(1, 10, (len(tokens), 1)) if ending else 9
        masks.append(np.broadcast_to(np.arange(9) < lengths, tokens.shape))
    train, fresh = np.where(masks[0], train, 0), np.where(masks[1], fresh, 0)
    known, asked = set(ngrams(train, masks[0], order)), ngrams(fresh, masks[1], order)
    expected = sum(gram in known for gram in asked) / len(asked)
    copied = CopiedFraction(train, masks[0], order)
    assert copied(fresh, masks[1]) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < expected < 0.9
    assert copied(train, masks[0]) == 1.0


def test_copied_fraction_tells_orders_of_tokens_apart():
    mask = np.ones((1, 3), bool)
    copied = CopiedFraction(np.array([[1, 2, 3]]), mask, 3)
    for other in ([3, 2, 1], [2, 1, 3], [1, 3, 2], [1, 2, 0], [0, 2, 3], [1, 1, 4]):
        assert copied(np.array([other]), mask) == 0.0
    assert copied(np.array([[1, 2, 3]]), mask) == 1.0


@pytest.mark.parametrize(
    ("length", "order"), [(20, 8), (32, 8), (16, 8), (15, 7), (9, 4), (3, 1), (2, 1), (1, 1)]
)
def test_default_order_is_8_or_half_the_length(length, order):
    tokens = np.zeros((2, length), np.int32)
    assert CopiedFraction(tokens, np.ones_like(tokens, bool)).order == order


def test_nothing_to_ask_of_is_no_copy():
    tokens, mask = np.array([[1, 2, 3]]), np.ones((1, 3), bool)
    assert CopiedFraction(tokens, mask, 4)(tokens, mask) == 0.0  # longer than any sequence
    none_long_enough = np.array([[True, False, False]])
    assert CopiedFraction(tokens, mask, 2)(tokens, none_long_enough) == 0.0


def test_training_sequences_shorter_than_the_order_know_nothing():
    tokens, mask = np.array([[1, 2, 3]]), np.ones((1, 3), bool)
    assert CopiedFraction(tokens[:, :1], mask[:, :1], 2)(tokens, mask) == 0.0


# Logits with ties within and between the kinds, and kinds of different size.
LOGITS = [
    (np.array([2.0, 1.0, 3.0]), np.array([-1.0, 0.5]), 1.0),  # apart
    (np.array([-1.0, -2.0]), np.array([1.0, 3.0, 2.0]), 0.0),  # the wrong way round
    (np.zeros(4), np.zeros(3), 0.5),  # all tied
    # Pairs: 1 > 0, 1 = 1, 0 = 0, 0 < 1: 1 + 0.5 + 0.5 + 0 of 4
    (np.array([1.0, 0.0]), np.array([0.0, 1.0]), 0.5),
    # 2 > -1, 2 > 2 no (tied), -1 tied, -1 < 2, 0 > -1, 0 < 2: 1 + 0.5 + 0.5 + 0 + 1 + 0 of 6
    (np.array([2.0, -1.0, 0.0]), np.array([-1.0, 2.0]), 0.5),
]


@pytest.mark.parametrize(("real", "fake", "expected"), LOGITS)
def test_area_under_curve_by_hand(real, fake, expected):
    assert area_under_curve(real, fake) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_area_under_curve_counts_pairs(seed):
    rng = np.random.default_rng(seed)
    # Few distinct values, so that ties abound.
    real, fake = rng.integers(-2, 4, 40) / 2.0, rng.integers(-3, 3, 25) / 2.0
    pairs = [(r > f) + 0.5 * (r == f) for r in real for f in fake]
    assert area_under_curve(real, fake) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert 0.5 < np.mean(pairs) < 1.0
    np.testing.assert_allclose(area_under_curve(fake, real), 1.0 - np.mean(pairs))


def test_accuracy_weighs_both_kinds_alike_whatever_their_numbers():
    # Real: 2 of 4 right and one undecided, (2 + 0.5) / 4; generated: 1 of 2. Mean of the two.
    real, fake = np.array([1.0, 2.0, 0.0, -1.0]), np.array([-3.0, 3.0])
    assert accuracy(real, fake) == pytest.approx((0.625 + 0.5) / 2)


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [([1.0], [-1.0], 1.0), ([-1.0], [1.0], 0.0), ([0.0], [0.0], 0.5), ([1.0, 2.0], [5.0], 0.5)],
)
def test_accuracy_by_hand(real, fake, expected):
    assert accuracy(np.array(real), np.array(fake)) == expected
