"""Distances of distributions, and of melodies, against numbers by hand and pair by pair."""

import collections
import math

import numpy as np
import pytest

from seqgan_jax.metrics import pitch
from seqgan_jax.metrics.distance import jensen_shannon_divergence, length_distance
from seqgan_jax.metrics.pitch import nearest_pitch_mse, pitch_mse
from seqgan_jax.types import Sequences

REST = float("nan")
EMPTY = Sequences(np.zeros((0, 3), np.int32), np.zeros((0, 3), bool))


def padded(rows):
    """Rows of ids as one record; the padding is an id that occurs, so that a leak would show."""
    tokens = np.zeros((len(rows), max(map(len, rows))), np.int32)
    mask = np.zeros(tokens.shape, bool)
    for index, row in enumerate(rows):
        tokens[index, : len(row)], mask[index, : len(row)] = row, True
    return Sequences(tokens, mask)


def of_lengths(lengths):
    return padded([[1] * length for length in lengths])


# Lengths.


@pytest.mark.parametrize(
    ("lengths", "others", "expected"),
    [
        ([3, 3], [3], 0.0),
        ([2], [5], 3.0),
        ([1, 2, 3], [3, 1, 2], 0.0),
        ([2, 4], [3], 1.0),  # one half a token up, the other down, each by 1
        ([0, 0, 0, 4], [1], 1.5),  # 3/4 by 1, 1/4 by 3
        # 1/3 of the mass stays at 1, 1/6 goes from 1 to 2, 1/3 from 2 to 2, 1/6 from 6 to 2.
        ([1, 1, 1, 2, 2, 6], [1, 2, 2], 1 / 6 + 4 / 6),
    ],
)
def test_length_distance_by_hand(lengths, others, expected):
    assert length_distance(of_lengths(lengths), of_lengths(others)) == pytest.approx(expected)
    assert length_distance(of_lengths(others), of_lengths(lengths)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_length_distance_of_as_many_is_that_of_the_sorted(seed):
    rng = np.random.default_rng(seed)
    # The cheapest way between as many points of a line is in their order.
    lengths, others = rng.integers(0, 9, 30), rng.poisson(5, 30)
    expected = np.abs(np.sort(lengths) - np.sort(others)).mean()
    assert expected > 0.1
    # Each twice is the same distribution.
    twice = of_lengths(np.tile(lengths, 2))
    assert length_distance(twice, of_lengths(others)) == pytest.approx(expected, abs=1e-12)


def test_length_distance_to_nothing_is_nan():
    assert math.isnan(length_distance(EMPTY, of_lengths([1])))
    assert math.isnan(length_distance(of_lengths([1]), EMPTY))


# n-grams.


def divergence(rows, others, order):
    """(KL(p || m) + KL(q || m)) / 2 of counts of tuples."""
    counts = [
        collections.Counter(
            tuple(row[i : i + order])
            for row in some
            for i in range(len(row) - order + 1)
            if min(row[i : i + order]) >= 0
        )
        for some in (rows, others)
    ]
    result = 0.0
    for own in counts:
        for gram, times in own.items():
            p = times / own.total()
            middle = sum(each[gram] / each.total() for each in counts) / 2
            result += p * math.log(p / middle) / 2
    return result


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("lowest", [0, -1])
def test_divergence_is_that_of_counted_tuples(order, lowest):
    rng = np.random.default_rng(order)
    rows, others = (
        [rng.integers(lowest, vocab_size, rng.integers(0, 9)).tolist() for _ in range(number)]
        for number, vocab_size in ((200, 2), (150, 3))
    )
    expected = divergence(rows, others, order)
    assert 0.01 < expected < 0.6
    for one, other in ((rows, others), (others, rows)):
        found = jensen_shannon_divergence(padded(one), padded(other), order)
        assert found == pytest.approx(expected, abs=1e-12)


def test_divergence_by_hand():
    # p = (1/2, 1/2, 0), q = (1/2, 0, 1/2), m = (1/2, 1/4, 1/4): each KL is ln(2) / 2.
    found = jensen_shannon_divergence(padded([[0, 1]]), padded([[2, 0], [0, 2]]), 1)
    assert found == pytest.approx(math.log(2) / 2, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_divergence_has_its_bounds(order):
    rng = np.random.default_rng(order)
    rows = rng.integers(0, 7, (50, 9))
    twice, others = padded(np.tile(rows, (2, 1))), padded(rows + 7)
    assert 0.0 <= jensen_shannon_divergence(padded(rows), twice, order) < 1e-12
    apart = jensen_shannon_divergence(padded(rows), others, order)
    assert math.log(2) - 1e-12 < apart <= math.log(2)


def test_divergence_without_ngrams_is_nan():
    some, short = padded([[1, 2, 3]]), padded([[1, 2], [3]])
    assert math.isnan(jensen_shannon_divergence(some, short, 3))
    assert math.isnan(jensen_shannon_divergence(short, some, 3))
    assert math.isnan(jensen_shannon_divergence(some, some, 4))
    assert math.isnan(jensen_shannon_divergence(some, EMPTY, 1))


def test_divergence_of_an_order_below_1_is_refused():
    with pytest.raises(ValueError, match="0: must be at least 1"):
        jensen_shannon_divergence(padded([[1]]), padded([[1]]), 0)


# Pitch.


def squares(sample, reference):
    """Squared differences where both sound."""
    pairs = zip(sample, reference, strict=True)
    return [(a - b) ** 2 for a, b in pairs if not (math.isnan(a) or math.isnan(b))]


def plain_pitch_mse(samples, references):
    every = [each for a in samples for b in references for each in squares(a, b)]
    return np.mean(every) if every else REST


def plain_nearest_pitch_mse(samples, references):
    nearest = []
    for sample in samples:
        found = [squares(sample, reference) for reference in references]
        means = [np.mean(each) for each in found if each]
        nearest += [min(means)] if means else []
    return np.mean(nearest) if nearest else REST


def melodies(rng, number, length=6, rests=0.3, step=1.0):
    pitches = step * np.round(rng.normal(64, 6, (number, length)) / step)
    return np.where(rng.random(pitches.shape) < rests, REST, pitches)


@pytest.mark.parametrize("step", [1.0, 0.01])
@pytest.mark.parametrize("rests", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("block", [None, 1, 12, 50])
def test_pitch_distances_are_those_of_all_pairs(monkeypatch, block, rests, step):
    if block:  # pairs at a time: less than a sample's, one sample, several and a rest
        monkeypatch.setattr(pitch, "_PAIRS", block)
    rng = np.random.default_rng(int(10 * rests))
    samples, references = (melodies(rng, n, rests=rests, step=step) for n in (9, 12))
    samples[2] = REST
    references[[0, 5]] = REST
    samples[4] = references[7]
    expected = plain_pitch_mse(samples, references)
    assert expected > 1.0
    assert pitch_mse(samples, references) == pytest.approx(expected, rel=1e-12)
    expected = plain_nearest_pitch_mse(samples, references)
    assert expected > 0.1
    assert nearest_pitch_mse(samples, references) == pytest.approx(expected, rel=1e-9)


def test_pitch_distances_by_hand():
    samples = np.array([[60.0, 62.0, REST], [REST, 70.0, 64.0]])
    references = np.array([[61.0, REST, 60.0], [60.0, 65.0, REST], [REST, REST, REST]])
    # Pairs: 1; 0, 9; 16; 25 - the first sample's two, then the second's
    assert pitch_mse(samples, references) == pytest.approx((1 + 0 + 9 + 16 + 25) / 5)
    # The first: 1 or (0 + 9) / 2; the second: 16 or 25
    assert nearest_pitch_mse(samples, references) == pytest.approx((1 + 16) / 2)


def test_a_melody_is_nearest_to_itself():
    rng = np.random.default_rng(0)
    references = melodies(rng, 30, length=32, step=0.01)
    assert 0.0 <= nearest_pitch_mse(references[::-1], references) < 1e-9
    # Of one melody thrice all pairs are alike; rounding must not leave them below 0.
    for one in references:
        same = one[None].repeat(3, axis=0)
        assert 0.0 <= pitch_mse(same, same) < 1e-9
    assert pitch_mse(references, references) > 30.0


def test_the_middle_pitch_has_the_least_distance_to_all():
    references = melodies(np.random.default_rng(1), 50, rests=0.0)
    middle = references.mean(axis=0, keepdims=True)
    # The mean squared difference from the mean is the variance; between real ones it is twice that.
    variance = references.var(axis=0).mean()
    assert pitch_mse(middle, references) == pytest.approx(variance, rel=1e-12)
    assert pitch_mse(references, references) == pytest.approx(2 * variance, rel=1e-12)


@pytest.mark.parametrize(("kind", "step"), [(np.float32, 0.01), (np.int64, 1.0)])
def test_pitch_distances_do_not_lose_digits_to_the_type(kind, step):
    samples, references = (
        melodies(np.random.default_rng(seed), 300, rests=0.0, step=step).astype(kind)
        for seed in (0, 1)
    )
    for distance in (pitch_mse, nearest_pitch_mse):
        expected = distance(samples.astype(np.float64), references.astype(np.float64))
        assert distance(samples, references) == expected


@pytest.mark.parametrize("distance", [pitch_mse, nearest_pitch_mse])
@pytest.mark.parametrize(
    ("samples", "references"),
    [
        (np.full((2, 3), REST), np.full((4, 3), 60.0)),
        (np.full((2, 3), 60.0), np.full((4, 3), REST)),
        (np.array([[60.0, REST]]), np.array([[REST, 60.0]])),
        (np.zeros((0, 3)), np.full((4, 3), 60.0)),
        (np.full((4, 3), 60.0), np.zeros((0, 3))),
        (np.zeros((2, 0)), np.zeros((2, 0))),
    ],
)
def test_where_nothing_sounds_together_it_is_nan(samples, references, distance):
    assert math.isnan(distance(samples, references))


@pytest.mark.parametrize("distance", [pitch_mse, nearest_pitch_mse])
def test_melodies_of_two_lengths_are_refused(distance):
    with pytest.raises(ValueError, match=r"1.*3"):  # broadcasting would take 1 for 3
        distance(np.full((2, 1), 60.0), np.full((2, 3), 60.0))
