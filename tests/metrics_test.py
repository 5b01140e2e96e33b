"""Metrics against definitions spelt out and numbers computed by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax.metrics.discrimination import accuracy, area_under_curve
from seqgan_jax.metrics.diversity import (
    CopiedFraction,
    copied_sequences,
    distinct_fraction,
    distinct_n,
    duplicate_rate,
    unique_ngrams,
)
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.types import LanguageModel, Samples, Sequences


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


def padded(rows, padding=0, length=6):
    """Rows of ids as one record; behind their end they differ, so that a leak would show."""
    tokens = np.arange(padding, padding + len(rows) * length, dtype=np.int32).reshape(-1, length)
    mask = np.zeros(tokens.shape, bool)
    for index, row in enumerate(rows):
        tokens[index, : len(row)], mask[index, : len(row)] = row, True
    return Sequences(tokens, mask)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("lowest", [0, -1])
def test_distinct_n_is_that_of_sets_of_tuples(order, lowest):
    rng = np.random.default_rng(order)
    samples = padded([rng.integers(lowest, 3, rng.integers(0, 7)).tolist() for _ in range(20)])
    found = [gram for gram in ngrams(*samples, order) if min(gram) >= 0]
    assert unique_ngrams(samples, order) == len(set(found)) > 2
    assert distinct_n(samples, order) == pytest.approx(len(set(found)) / len(found), rel=1e-12)


def test_distinct_n_by_hand():
    samples = padded([[1, 2, 1, 2], [2, 1], [3]])
    assert distinct_n(samples, 1) == pytest.approx(3 / 7)
    assert distinct_n(samples, 2) == pytest.approx(2 / 4)  # 12 21 12, 21
    assert distinct_n(samples, 4) == 1.0
    assert [unique_ngrams(samples, order) for order in (1, 2, 3, 4, 5, 9)] == [3, 2, 2, 1, 0, 0]


@pytest.mark.parametrize("order", [5, 9])  # beyond what is real, beyond T
def test_distinct_n_of_no_ngrams_is_nan(order):
    assert math.isnan(distinct_n(padded([[1, 2, 3, 4], []]), order))


@pytest.mark.parametrize("function", [distinct_n, unique_ngrams])
def test_ngrams_of_no_tokens_are_refused(function):
    with pytest.raises(ValueError, match="0: must be at least 1"):
        function(padded([[1]]), 0)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 2], [1, 2], [2, 1], [1, 2]], 0.5),  # the second and the fourth
        ([[1], [1, 1], [1, 1, 1], []], 0.0),  # beginnings of one another
        ([[], [], [0]], 1 / 3),
        ([[-1, 2], [-1, 2]], 0.5),
        ([[7]], 0.0),
    ],
)
def test_duplicate_rate_by_hand(rows, expected):
    assert duplicate_rate(padded(rows)) == pytest.approx(expected, abs=1e-12)


def test_copied_sequences_by_hand():
    train = padded([[1, 2, 3], [1, 2, 3], [4], [5, 6]], padding=50, length=4)
    # Whole and alike; half of one; one and more; the words of one turned; one and a repeat of it.
    samples = padded([[1, 2, 3], [1, 2], [5, 6, 7], [6, 5], [4], [4]])
    assert copied_sequences(samples, train) == pytest.approx(3 / 6)
    assert copied_sequences(train, samples) == pytest.approx(3 / 4)
    assert copied_sequences(padded([[], [9]]), train) == 0.0
    assert copied_sequences(padded([[], [9]]), padded([[]])) == 0.5


def test_sequences_of_any_kind_of_integer_are_compared_by_value():
    train, samples = padded([[1, 2], [3]]), padded([[1, 2], [4]])
    wide = Sequences(samples.tokens.astype(np.int64), samples.mask)
    assert copied_sequences(wide, train) == 0.5


def test_shares_of_no_sequences_are_nan():
    some, none = padded([[1]]), padded([])
    assert math.isnan(duplicate_rate(none))
    assert math.isnan(copied_sequences(none, some))
    assert copied_sequences(some, none) == 0.0


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
