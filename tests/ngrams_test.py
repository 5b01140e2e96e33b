"""n-gram numbers against tuples counted one by one."""

import collections

import numpy as np
import pytest

from seqgan_jax.metrics.ngrams import NONE, NgramNumbers, _numbered, counted, joined
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


@pytest.mark.parametrize("low", [0, -1, -2])
@pytest.mark.parametrize("seed", range(5))
def test_numbers_tell_ngrams_apart_in_the_order_of_their_ids(seed, low):
    rows = random_rows(np.random.default_rng(seed), 60, low, 3, 8)
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
    rows, others = random_rows(rng, 300, -2, 3, 8), random_rows(rng, 300, -2, 4, 8)
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
    # Of a row of 6: 6 words, 3 of them different; from 2-grams on each of the 7 - n is another.
    assert [numbers.count(order) for order in range(1, 6)] == [3, 5, 4, 3, 2]
    assert all((own[0] == own[2]).all() for own in numbers.own)
    assert len(set(numbers.own[4][0])) == 2


def test_ids_of_64_bits_do_not_overflow():
    large = np.iinfo(np.int64).max
    tokens = np.array([[large, large - 1, 0, large, large - 1, 1]])
    numbers = NgramNumbers(Sequences(tokens, np.ones(tokens.shape, bool)), 3)
    assert [own.tolist() for own in numbers.own] == [
        [[3, 2, 0, 3, 2, 1]],
        # In the order of their ids: 0 L, (L-1) 0, (L-1) 1, L (L-1)
        [[3, 1, 0, 3, 2]],
        # 0 L (L-1), (L-1) 0 L, L (L-1) 0, L (L-1) 1
        [[2, 1, 0, 3]],
    ]
    # The lower 32 bits of 2**32 - 2 are those of L - 1.
    other = np.array([[large, 2**32 - 2, 0]])
    found = numbers.of(Sequences(other, np.ones(other.shape, bool)))
    assert found[0].tolist() == [[3, NONE, 0]]


def test_keys_too_large_to_be_packed_are_numbered_alike():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 30, (20, 10))
    keys[rng.random(keys.shape) < 0.2] = NONE
    # Their positions take 8 bits; beside them 2**55 - 1 fits and 2**55 does not.
    assert 128 <= (keys != NONE).sum() < 256
    known, expected = np.unique(keys[keys != NONE], return_inverse=True)
    for largest in (29, 2**55 - 1, 2**55, 2**63 - 1):
        moved = np.where(keys == NONE, NONE, keys + (largest - 29))
        found_known, found = _numbered(moved)
        np.testing.assert_array_equal(found_known, known + (largest - 29))
        np.testing.assert_array_equal(found[keys != NONE], expected)
        assert (found[keys == NONE] == NONE).all()


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64])
def test_any_integers_in_any_layout_will_do(kind):
    sequences = padded(random_rows(np.random.default_rng(1), 20, 0, 2, 6))
    large = [np.asfortranarray(leaf.repeat(2, axis=1)) for leaf in sequences]
    large[0] = large[0].astype(kind)
    for leaf in large:
        leaf.flags.writeable = False
    expected = NgramNumbers(sequences, 3)
    view = Sequences(*(leaf[:, ::2] for leaf in large))
    for found in (NgramNumbers(view, 3).own, expected.of(view)):
        for own, each in zip(expected.own, found, strict=True):
            np.testing.assert_array_equal(each, own)


def test_ids_that_are_all_below_0_make_no_ngrams():
    nothing = padded([[-1, -2, -1], [-3]])
    numbers = NgramNumbers(nothing, 2)
    assert [numbers.count(order) for order in (1, 2)] == [0, 0]
    assert all((own == NONE).all() for own in numbers.own)
    known = NgramNumbers(padded([[0, 1, 0]]), 2)
    assert all((found == NONE).all() for found in known.of(nothing))


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
