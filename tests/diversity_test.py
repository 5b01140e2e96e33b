"""Diversity and copies against sets of tuples and numbers by hand."""

import math

import numpy as np
import pytest

from seqgan_jax.metrics.diversity import (
    copied_sequences,
    distinct_n,
    duplicate_rate,
    unique_ngrams,
)
from seqgan_jax.types import Sequences

EMPTY = Sequences(np.zeros((0, 3), np.int32), np.zeros((0, 3), bool))


def padded(rows, padding=0, length=None):
    """Rows of ids as one record; the padding is an id that occurs, so that a leak would show."""
    length = max(map(len, rows)) if length is None else length
    tokens = np.full((len(rows), length), padding, np.int32)
    mask = np.zeros(tokens.shape, bool)
    for index, row in enumerate(rows):
        tokens[index, : len(row)], mask[index, : len(row)] = row, True
    return Sequences(tokens, mask)


def random_rows(rng, number, vocab_size, longest, lowest=0):
    lengths = rng.integers(0, longest + 1, number)
    return [rng.integers(lowest, vocab_size, length).tolist() for length in lengths]


# n-grams.


@pytest.mark.parametrize(
    ("order", "different", "all_of_them"),
    [
        (1, 3, 7),  # 1, 2, 3 of 3 + 3 + 1
        (2, 3, 4),  # 12 21; 12 23
        (3, 2, 2),  # 121; 123
    ],
)
def test_distinct_ngrams_by_hand(order, different, all_of_them):
    samples = padded([[1, 2, 1], [1, 2, 3], [3]])
    assert distinct_n(samples, order) == pytest.approx(different / all_of_them, rel=1e-12)
    assert unique_ngrams(samples, order) == different


def test_an_id_below_0_is_in_no_ngram():
    samples = padded([[1, -1, 2, 2], [-1, -1]])
    # 1, 2, 2; 22 alone is a pair without it
    assert distinct_n(samples, 1) == pytest.approx(2 / 3, rel=1e-12)
    assert (distinct_n(samples, 2), unique_ngrams(samples, 2)) == (1.0, 1)
    assert unique_ngrams(samples, 3) == 0


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("lowest", [0, -1])
def test_distinct_ngrams_are_a_set_of_tuples(order, lowest):
    rows = random_rows(np.random.default_rng(order), 40, 4, 8, lowest)
    grams = [tuple(row[i : i + order]) for row in rows for i in range(len(row) - order + 1)]
    grams = [gram for gram in grams if min(gram) >= 0]
    assert len(set(grams)) < len(grams)
    assert unique_ngrams(padded(rows), order) == len(set(grams))
    expected = len(set(grams)) / len(grams)
    assert distinct_n(padded(rows), order) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("samples", [padded([[1, 2], [3]]), padded([[], []], length=5), EMPTY])
def test_without_ngrams_there_is_no_share(samples):
    assert math.isnan(distinct_n(samples, 3))
    assert unique_ngrams(samples, 3) == 0


@pytest.mark.parametrize("function", [distinct_n, unique_ngrams])
def test_an_order_below_1_is_refused(function):
    with pytest.raises(ValueError, match="0: must be at least 1"):
        function(padded([[1]]), 0)


# Whole sequences.


def test_duplicates_by_hand():
    # The second and third repeat the first, the last the fourth; 1 and 1 0 are not 1 0 0.
    rows = [[1, 0, 0], [1, 0, 0], [1, 0, 0], [2], [1], [1, 0], [2]]
    assert duplicate_rate(padded(rows)) == pytest.approx(3 / 7, rel=1e-12)
    assert duplicate_rate(padded([[1, 2], [2, 1], [12]])) == 0.0
    assert duplicate_rate(padded([[], [], [0]])) == pytest.approx(1 / 3, rel=1e-12)


def test_copies_by_hand():
    train = padded([[1, 2, 3], [4], []])
    # Whole: 1 2 3, 4 twice and the empty one; neither a part, nor a longer one, nor another order.
    samples = padded([[1, 2, 3], [1, 2], [1, 2, 3, 0], [4], [4], [3, 2, 1], []])
    assert copied_sequences(samples, train) == pytest.approx(4 / 7, rel=1e-12)
    assert copied_sequences(samples, padded([[9]])) == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_whole_sequences_are_sets_of_tuples(seed):
    rng = np.random.default_rng(seed)
    rows, train = random_rows(rng, 50, 3, 4), random_rows(rng, 20, 3, 6)
    whole, known = [tuple(row) for row in rows], {tuple(row) for row in train}
    expected = 1 - len(set(whole)) / len(whole)
    assert 0.1 < expected < 0.9
    assert duplicate_rate(padded(rows)) == pytest.approx(expected, abs=1e-12)
    expected = sum(row in known for row in whole) / len(whole)
    assert 0.1 < expected < 0.9
    # Neither what lies behind the end, nor T, nor the width of the ids makes a difference.
    samples, other = padded(rows, padding=2, length=9), padded(train, padding=1)
    wide = Sequences(other.tokens.astype(np.int64), other.mask)
    assert copied_sequences(samples, wide) == pytest.approx(expected, abs=1e-12)


def test_views_and_arrays_that_are_read_only_will_do():
    rows = random_rows(np.random.default_rng(0), 30, 2, 4)
    samples = padded(rows, length=6)
    # Every other row and column of arrays twice as large, stored by columns.
    large = [np.asfortranarray(leaf.repeat(2, axis=0).repeat(2, axis=1)) for leaf in samples]
    for leaf in large:
        leaf.flags.writeable = False
    view = Sequences(*(leaf[::2, ::2] for leaf in large))
    assert 0.1 < duplicate_rate(samples) == duplicate_rate(view)
    assert copied_sequences(view, samples) == 1.0
    assert distinct_n(view, 2) == distinct_n(samples, 2)


def test_no_sequences_have_no_share_of_copies():
    some = padded([[1, 2]])
    assert math.isnan(duplicate_rate(EMPTY))
    assert math.isnan(copied_sequences(EMPTY, some))
    assert copied_sequences(some, EMPTY) == 0.0
