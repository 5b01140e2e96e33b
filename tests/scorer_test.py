"""The scorer against each metric asked by itself, on sequences spelt out."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from seqgan_jax import metrics
from seqgan_jax.metrics.bleu_score import BleuReferences
from seqgan_jax.metrics.scorer import ORDERS, Scorer, words
from seqgan_jax.types import Samples, Sequences

END, UNKNOWN = 1, 2
LENGTH = 8


def padded(rows):
    """Rows of ids as one record; the padding is an id that occurs, so that a leak would show."""
    tokens = np.full((len(rows), LENGTH), 3, np.int32)
    mask = np.zeros(tokens.shape, bool)
    for index, row in enumerate(rows):
        tokens[index, : len(row)], mask[index, : len(row)] = row, True
    return Sequences(tokens, mask)


def random_rows(rng, number):
    return [rng.integers(3, 7, rng.integers(1, LENGTH)).tolist() for _ in range(number)]


def ended(rows):
    return padded([[*row, END] for row in rows])


def means(name, scores):
    return {f"{name}_{order}": scores[order - 1].mean() for order in ORDERS}


@pytest.fixture
def rows():
    """Training, held-out and sampled rows of words, without their ends."""
    rng = np.random.default_rng(0)
    train, test, samples = (random_rows(rng, number) for number in (20, 15, 12))
    return train, test, [*samples, samples[0], train[0]]


@pytest.fixture
def scorer(rows):
    train, test, _ = rows
    return Scorer(ended(train), ended(test), END, UNKNOWN)


def test_words_leave_the_end_out_and_let_the_unknown_match_nothing():
    sequences = padded([[4, UNKNOWN, END], [UNKNOWN, 5, 6, 7, 4, 4, 5, 6]])
    tokens, mask = words(sequences, END, UNKNOWN)
    assert mask.sum(axis=1).tolist() == [2, 8]
    assert tokens[mask].tolist() == [4, -1, -1, 5, 6, 7, 4, 4, 5, 6]
    assert tokens.dtype == np.int32
    tokens, mask = words(sequences, None, None)
    np.testing.assert_array_equal(tokens, sequences.tokens)
    np.testing.assert_array_equal(mask, sequences.mask)
    # What was given is left alone.
    assert sequences.tokens[0].tolist() == [4, UNKNOWN, END, 3, 3, 3, 3, 3]
    assert sequences.mask[0].sum() == 3


def test_every_bleu_is_the_mean_of_its_scores_without_ends(scorer, rows):
    _, test, samples = map(padded, rows)
    given = ended(rows[2])
    references, own = BleuReferences(test, 5), BleuReferences(samples, 5)
    expected = {
        "bleu": (scorer.bleu(given), references.scores(samples)),
        "self_bleu": (scorer.self_bleu(given), own.own_scores()),
        "backward_bleu": (scorer.backward_bleu(given), own.scores(test)),
    }
    for name, (found, scores) in expected.items():
        assert found == pytest.approx(means(name, scores), abs=1e-12)
        assert 0.1 < found[f"{name}_5"] < found[f"{name}_2"] < 1.0
    held_out = scorer.held_out_bleu()
    assert held_out == pytest.approx(means("bleu", references.own_scores()), abs=1e-12)
    assert scorer.bleu(given)["bleu_2"] != scorer.backward_bleu(given)["backward_bleu_2"]


def test_the_unknown_word_is_no_match_across_sets():
    # 4 and an unknown word in both: 1 of 2 words, no pair, sqrt(1/2 * 0.1/1); all if they matched.
    some = ended([[4, UNKNOWN]])
    scorer = Scorer(some, ended([[4, UNKNOWN], [4, UNKNOWN]]), END, UNKNOWN)
    expected = math.sqrt(0.05)
    assert scorer.bleu(some)["bleu_2"] == pytest.approx(expected)
    assert scorer.backward_bleu(some)["backward_bleu_2"] == pytest.approx(expected)
    assert scorer.held_out_bleu()["bleu_2"] == pytest.approx(expected)
    # Among samples it is one word: repeating it is no variety.
    assert scorer.self_bleu(ended([[4, UNKNOWN], [4, UNKNOWN]]))["self_bleu_2"] == 1.0
    # Without an unknown word that id is a word like any other.
    assert Scorer(some, some, END).bleu(some)["bleu_2"] == 1.0


def test_variety_by_hand():
    train, test = [[3, 4, 5, 6, 5], [6]], [[3, 4], [6, 6, 6]]
    samples = [[3, 4, 5, 6, 5], [3, 4], [3, 4], [6, 6, 6]]
    found = Scorer(ended(train), ended(test), END).variety(ended(samples))
    expected = {
        "distinct_1": 4 / 12,
        "distinct_2": 5 / 8,  # 34 45 56 65 66 of 4 + 1 + 1 + 2
        "distinct_3": 4 / 4,  # 345 456 565; 666
        "distinct_4": 2 / 2,  # 3456 4565
        "unique_ngrams_4": 2,
        "duplicates": 1 / 4,
        "copied_sequences": 1 / 4,
        "copied_ngrams": 2 / 2,  # of order 4, half of T = 8: both stand in the first
        "mean_length": 12 / 4,
        # Lengths 2 2 3 5 of samples, 2 3 of real ones: 1/4 goes from 5 to 3.
        "length_distance": 2 / 4,
    }
    divergences = {f"jsd_{n}" for n in (1, 2, 3, 4)}
    assert found.keys() == expected.keys() | divergences
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    # Samples 565 345 456 666 1/4 each, real 666: m has 5/8 and three of 1/8.
    # (3/4 ln 2 + 1/4 ln(2/5) + ln(8/5)) / 2
    by_hand = (0.75 * math.log(2) + 0.25 * math.log(2 / 5) + math.log(8 / 5)) / 2
    assert found["jsd_3"] == pytest.approx(by_hand, rel=1e-12)
    assert math.isnan(found["jsd_4"])  # no held-out sequence is of 4 words
    assert 0.0 < found["jsd_1"] < found["jsd_2"] < found["jsd_3"] < math.log(2)


def test_variety_does_not_count_ends(scorer, rows):
    train, test, samples = rows
    given = scorer.variety(ended(samples))
    bare = Scorer(padded(train), padded(test)).variety(padded(samples))
    assert given == pytest.approx(bare, rel=1e-12)
    assert given["copied_sequences"] > 0
    with_ends = Scorer(ended(train), ended(test)).variety(ended(samples))
    assert with_ends["mean_length"] == pytest.approx(given["mean_length"] + 1)
    assert with_ends["jsd_2"] != pytest.approx(given["jsd_2"], rel=1e-3)


def test_copies_and_lengths_alone_are_those_of_variety(scorer, rows):
    given = ended(rows[2])
    variety = scorer.variety(given)
    assert scorer.copied_ngrams(given) == variety["copied_ngrams"] > 0
    assert scorer.mean_length(given) == variety["mean_length"]


def test_the_end_is_no_copied_ngram():
    # 4-grams: 3 4 5 6 is copied, 4 5 6 3 is not; with their ends 5 6 3 END would be a third.
    scorer = Scorer(ended([[3, 4, 5, 6]]), ended([[3]]), END)
    assert scorer.copied_ngrams(ended([[3, 4, 5, 6, 3]])) == 0.5


def test_sequences_of_full_length_need_no_end(rows):
    samples = padded(rows[2])
    scorer = Scorer(padded(rows[0]), padded(rows[1]))
    expected = BleuReferences(padded(rows[1]), 5).scores(samples)
    assert scorer.bleu(samples) == pytest.approx(means("bleu", expected), abs=1e-12)


def test_what_a_model_draws_is_measured_as_it_is_on_the_host():
    """JAX arrays have 32 bits unless told otherwise, and keys of n-grams need more."""
    rng = np.random.default_rng(0)
    hosts = [
        Sequences(
            rng.zipf(1.2, (4_000, 20)).clip(max=20_000).astype(np.int32),
            np.arange(20) < rng.integers(1, 21, 4_000)[:, None],
        )
        for _ in range(2)
    ]
    drawn = [Samples(*map(jnp.asarray, each)) for each in hosts]

    def measured(samples, references):
        return [
            metrics.bleu(samples, references, 3).mean(),
            metrics.self_bleu(samples, 3).mean(),
            metrics.backward_bleu(samples, references, 2).mean(),
            metrics.distinct_n(samples, 2),
            metrics.unique_ngrams(samples, 3),
            metrics.duplicate_rate(samples),
            metrics.distinct_fraction(samples.tokens),
            metrics.copied_sequences(samples, references),
            metrics.CopiedFraction(*references, order=2)(*samples),
            metrics.jensen_shannon_divergence(samples, references, 2),
            metrics.length_distance(samples, references),
            metrics.pitch_mse(samples.tokens, references.tokens),
            metrics.nearest_pitch_mse(samples.tokens[:50], references.tokens[:50]),
            *Scorer(references, references, END, UNKNOWN).variety(samples).values(),
        ]

    np.testing.assert_array_equal(measured(*drawn), measured(*hosts))
