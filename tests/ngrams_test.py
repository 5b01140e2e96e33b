"""n-gram numbers against tuples counted one by one."""

import collections

import numpy as np
import pytest

from seqgan_jax.metrics.ngrams import NONE, NgramNumbers, counted, joined
from seqgan_jax.types import Sequences


def padded(rows, length=None, padding=0):
    """Rows of ids as one record; the padding is an id that occurs, so that a leak would show."""
    length = max(map(len, rows), default=0) if length is None else length
    tokens = np.full((len(rows), length), padding, np.int32)
    mask = np.zeros((len(rows), length), bool)
    for index, row in enumerate(rows):
        tokens[index, : len(row)], mask[index, : len(row)] = row, True
    return Sequences(tokens, mask)


def tuples(row, order):
    """An n-gram for each position of a row, None where it holds an id below 0."""
    grams = [tuple(row[i : i + order]) for i in range(len(row) - order + 1)]
    return [None if min(gram) < 0 else gram for gram in grams]


def random_rows(rng, number, low, high, longest):
    lengths = rng.integers(0, longest + 1, number)
    return [rng.integers(low, high, length).tolist() for length in lengths]


def numbered(rows, numbers, order):
    """(n-gram or None, its number) of every position inside a row."""
    return [
        (gram, int(number))
        for row, own in zip(rows, numbers, strict=True)
        for gram, number in zip(tuples(row, order), own, strict=False)
    ]


@pytest.mark.parametrize("low", [0, -1])
@pytest.mark.parametrize("seed", range(5))
def test_numbers_tell_ngrams_apart_in_the_order_of_their_ids(seed, low):
    rows = random_rows(np.random.default_rng(seed), 30, low, 3, 7)
    numbers = NgramNumbers(padded(rows), 5)
    for order in range(1, 6):
        own = numbers.own[order - 1]
        pairs = numbered(rows, own, order)
        expected = sorted({gram for gram, _ in pairs if gram})
        assert {(g, n) for g, n in pairs if g} == {(g, n) for n, g in enumerate(expected)}
        assert all(number == NONE for gram, number in pairs if gram is None)
        assert (own != NONE).sum() == sum(gram is not None for gram, _ in pairs)
        assert numbers.count(order) == len(expected) > 0


@pytest.mark.parametrize("seed", range(5))
def test_numbers_of_others_are_those_of_the_same_ngrams(seed):
    rng = np.random.default_rng(seed)
    rows, others = random_rows(rng, 6, -1, 4, 6), random_rows(rng, 30, -1, 6, 8)
    numbers = NgramNumbers(padded(rows), 4)
    for order, found in enumerate(numbers.of(padded(others)), 1):
        known = dict(numbered(rows, numbers.own[order - 1], order))
        pairs = numbered(others, found, order)
        assert [number for _, number in pairs] == [known.get(gram, NONE) for gram, _ in pairs]
        assert (found != NONE).sum() == sum(number != NONE for _, number in pairs)
        assert {number == NONE for _, number in pairs} == {True, False}


def test_of_itself_is_own():
    sequences = padded(random_rows(np.random.default_rng(0), 20, -1, 3, 6))
    numbers = NgramNumbers(sequences, 4)
    for own, again in zip(numbers.own, numbers.of(sequences), strict=True):
        np.testing.assert_array_equal(own, again)


def test_an_ngram_of_known_words_may_be_unknown():
    numbers = NgramNumbers(padded([[1, 2, 3], [3, 1]]), 3)
    # 1 2 3 is known whole; 2 1 is not, so neither is 2 1 2 nor 1 2 1, though 1 2 is.
    one, two, three = numbers.of(padded([[1, 2, 3, 1, 2, 1]]))
    assert one.tolist() == [[0, 1, 2, 0, 1, 0]]
    # In the order of their ids: 1 2, 2 3, 3 1
    assert two.tolist() == [[0, 1, 2, 0, NONE]]
    assert three.tolist() == [[0, NONE, NONE, NONE]]


def test_ids_beyond_the_largest_known_are_no_other_ngram():
    # With V = 3, 0 3 and 1 0 would share the key 0 * 3 + 3 = 1 * 3 + 0.
    numbers = NgramNumbers(padded([[1, 0, 2], [0, 0]]), 2)
    assert numbers.of(padded([[0, 3]]))[1].tolist() == [[NONE]]


def test_the_largest_ids_do_not_overflow():
    largest = np.iinfo(np.int32).max
    row = [largest, largest - 1, largest, largest, 0, largest - 1]
    numbers = NgramNumbers(padded([row] * 3 + [row[1:]]), 5)
    # All 5 + 1 - n places of an order hold different n-grams, except that words repeat:
    assert [numbers.count(order) for order in range(1, 6)] == [3, 5, 4, 3, 2]
    assert all((own[0] == own[2]).all() for own in numbers.own)
    assert len(set(numbers.own[4][0])) == 2


@pytest.mark.parametrize("sequences", [padded([[1, 2]]), padded([[], []], 3), padded([], 4)])
def test_orders_beyond_the_length_have_no_ngrams(sequences):
    numbers = NgramNumbers(sequences, 4)
    assert [numbers.count(order) for order in (3, 4)] == [0, 0]
    assert all((each == NONE).all() for each in numbers.of(padded([[1, 2, 1, 2, 1]]))[2:])
    assert len(counted(numbers.own[3]).number) == 0


def test_an_order_below_1_is_refused():
    with pytest.raises(ValueError, match="max_order=0: must be at least 1"):
        NgramNumbers(padded([[1]]), 0)


def test_counted_by_hand():
    numbers = np.array([[2, 0, 2, NONE], [NONE] * 4, [0, 2, 5, 2]])
    number, row, times = counted(numbers)
    assert number.tolist() == [0, 0, 2, 2, 5]
    assert row.tolist() == [0, 2, 0, 2, 2]
    assert times.tolist() == [1, 1, 2, 2, 1]


def test_counted_counts():
    numbers = np.random.default_rng(0).integers(-1, 4, (20, 9))
    expected = collections.Counter(
        (int(number), row) for row, own in enumerate(numbers) for number in own if number != NONE
    )
    found = zip(*(each.tolist() for each in counted(numbers)), strict=True)
    assert [((number, row), times) for number, row, times in found] == sorted(expected.items())


def test_joined_pads_the_shorter():
    both = joined(padded([[1, 2, 3]]), padded([[4], []]))
    assert both.mask.tolist() == [[True] * 3, [True, False, False], [False] * 3]
    assert both.tokens[both.mask].tolist() == [1, 2, 3, 4]
