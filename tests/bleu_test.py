"""BLEU against NLTK's, sentence by sentence, and against numbers computed by hand."""

import math
import os
import pathlib
import sys

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from seqgan_jax.benchmark import bleu as benchmark
from seqgan_jax.checked import UserError
from seqgan_jax.metrics.bleu_score import BleuReferences, backward_bleu, bleu, self_bleu
from seqgan_jax.types import Sequences

ORDERS = (1, 2, 3, 4, 5)
DATA = pathlib.Path(
    os.environ.get("SEQGAN_DATA") or pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
)


def padded(rows, padding=0):
    """Rows of ids as one record; the padding is an id that occurs, so that a leak would show."""
    tokens = np.full((len(rows), max(map(len, rows), default=0)), padding, np.int32)
    mask = np.zeros(tokens.shape, bool)
    for index, row in enumerate(rows):
        tokens[index, : len(row)], mask[index, : len(row)] = row, True
    return Sequences(tokens, mask)


def nltk_bleu(hypothesis, references, order):
    """What the scores have to equal; an id below 0 becomes an object that equals no other."""
    hypothesis, *references = (
        [object() if token < 0 else token for token in row] for row in (hypothesis, *references)
    )
    smoothing = SmoothingFunction().method1
    weights = (1.0 / order,) * order
    return sentence_bleu(references, hypothesis, weights, smoothing_function=smoothing)


def nltk_scores(hypotheses, references):
    return [[nltk_bleu(each, references, order) for each in hypotheses] for order in ORDERS]


def nltk_own_scores(rows):
    return [
        [nltk_bleu(row, rows[:i] + rows[i + 1 :], order) for i, row in enumerate(rows)]
        for order in ORDERS
    ]


def random_rows(rng, number, vocab_size, lowest=0, shortest=0, longest=8):
    lengths = rng.integers(shortest, longest + 1, number)
    return [rng.integers(lowest, vocab_size, length).tolist() for length in lengths]


# Against NLTK.


@pytest.mark.parametrize("lowest", [0, -1])
@pytest.mark.parametrize("vocab_size", [2, 4, 12])
@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_nltk(seed, vocab_size, lowest):
    rng = np.random.default_rng(seed)
    # Few references: lengths with gaps and ties, n-grams that are missing, words that are unknown.
    references = random_rows(rng, (1, 2, 3, 15)[seed], vocab_size, lowest)
    hypotheses = random_rows(rng, 40, vocab_size + 1, lowest)
    hypotheses += [[], references[0], references[0] * 2, [0], [1] * 8]
    scores = BleuReferences(padded(references), 5).scores(padded(hypotheses))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, nltk_scores(hypotheses, references), atol=1e-9)


@pytest.mark.parametrize("lowest", [0, -1])
@pytest.mark.parametrize("vocab_size", [2, 4, 12])
@pytest.mark.parametrize("number", [2, 3, 5, 25])
def test_own_scores_equal_nltk_without_the_sentence_itself(number, vocab_size, lowest):
    rng = np.random.default_rng(number)
    for _ in range(4):
        rows = random_rows(rng, number, vocab_size, lowest)
        rows += [rows[0]] * int(rng.integers(3))  # duplicates elsewhere do count
        scores = BleuReferences(padded(rows), 5).own_scores()
        np.testing.assert_allclose(scores, nltk_own_scores(rows), atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_functions_are_rows_of_the_scores(order):
    rng = np.random.default_rng(order)
    rows, others = random_rows(rng, 9, 4), random_rows(rng, 12, 4)
    expected = [nltk_bleu(row, others, order) for row in rows]
    np.testing.assert_allclose(bleu(padded(rows), padded(others), order), expected, atol=1e-9)
    expected = nltk_own_scores(rows)[order - 1]
    np.testing.assert_allclose(self_bleu(padded(rows), order), expected, atol=1e-9)
    expected = [nltk_bleu(other, rows, order) for other in others]
    found = backward_bleu(padded(rows), padded(others), order)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def captions(name, number, ids):
    """Every so many-th line of a file, as ids."""
    path = DATA / "text" / name
    if not path.is_file():
        pytest.skip(f"no captions at {path}; set SEQGAN_DATA to the folder that holds text/")
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = lines[:: len(lines) // number][:number]
    return [[ids.setdefault(word, len(ids)) for word in line.split()] for line in lines]


def test_captions_score_as_by_nltk():
    ids = {}
    hypotheses = captions("image_coco.txt", 40, ids)
    references = captions("test_coco.txt", 150, ids)
    expected = nltk_scores(hypotheses, references)
    assert 0.02 < np.mean(expected[4]) < np.mean(expected[1]) < 0.98
    scores = BleuReferences(padded(references), 5).scores(padded(hypotheses))
    np.testing.assert_allclose(scores, expected, atol=1e-9)
    own = BleuReferences(padded(hypotheses), 5).own_scores()
    np.testing.assert_allclose(own, nltk_own_scores(hypotheses), atol=1e-9)


# By hand.


def test_bleu_by_hand():
    # Hypothesis 7 7 8 9, references 7 8 9 and 8 7 7: 7 counts 2 of 2 (second), 8 and 9 one: 4 / 4.
    # 2-grams 7 7, 7 8, 8 9 all stand in one: 3 / 3. 3-grams: 7 8 9 of 7 7 8, 7 8 9: 1 / 2.
    # 4-grams: 0 of 1, so 0.1. No penalty: 4 is more than 3. Fifth order: 0.1 / 1 too.
    hypotheses, references = padded([[7, 7, 8, 9]]), padded([[7, 8, 9], [8, 7, 7]])
    expected = [1.0, 1.0, 0.5 ** (1 / 3), 0.05 ** (1 / 4), 0.005 ** (1 / 5)]
    scores = BleuReferences(references, 5).scores(hypotheses)
    np.testing.assert_allclose(scores[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ((3, 5), 1.0),  # a tie is the shorter's: 4 > 3
        ((5,), math.exp(1 - 5 / 4)),
        ((6, 1), math.exp(1 - 6 / 4)),  # 6 is 2 away, 1 is 3
        ((4, 9), 1.0),
        ((9, 5, 2), math.exp(1 - 5 / 4)),
    ],
)
def test_brevity_penalty_by_hand(lengths, expected):
    references = padded([[1] * length for length in lengths])
    assert bleu(padded([[1] * 4]), references, 1)[0] == pytest.approx(expected, rel=1e-12)


# All sentences of a case have one length, so that the score is the share of matched words.
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # The largest count, 3, is the first's alone; among the others it is 2. The others see 3.
        ([[1, 1, 1], [1, 1, 2], [1, 3, 4]], [2 / 3, 2 / 3, 1 / 3]),
        # Two share the largest: each leaves the other one.
        ([[1, 1, 1], [1, 1, 1], [1, 3, 4]], [1.0, 1.0, 1 / 3]),
        # Three do, in whatever order; the second largest is as large.
        ([[1, 3, 4], [1, 1, 5], [1, 1, 6], [1, 1, 7]], [1 / 3, 2 / 3, 2 / 3, 2 / 3]),
        # What one sentence alone holds it does not match, however often.
        ([[2, 2, 1], [1, 3, 4], [4, 5, 6]], [1 / 3, 2 / 3, 1 / 3]),
        # The second largest stands before the largest.
        ([[1, 2, 3], [1, 1, 4], [1, 1, 1]], [1 / 3, 2 / 3, 2 / 3]),
    ],
)
def test_own_counts_are_left_out_by_hand(rows, expected):
    np.testing.assert_allclose(self_bleu(padded(rows), 1), expected, rtol=1e-12)


def test_own_length_is_left_out_by_hand():
    # All words match. Closest other length: 2 -> 3, 3 -> 2 and 4 tie: 2, 4 -> 3, 7 -> 7, 7 -> 7.
    rows = [[1] * length for length in (2, 3, 4, 7, 7)]
    scores = self_bleu(padded(rows), 1)
    np.testing.assert_allclose(scores, [math.exp(1 - 3 / 2), 1, 1, 1, 1], rtol=1e-12)
    # Without its double it has but 4 of its 7 words in any other, and is longer than they are.
    np.testing.assert_allclose(self_bleu(padded(rows[:4]), 1)[3], 4 / 7, rtol=1e-12)


def test_an_id_below_0_matches_nothing_but_counts_in_the_length():
    # 1 of 2 words matches; no 2-gram does: 0.1 / 1
    scores = BleuReferences(padded([[-1, 5], [-1, -1]]), 2).scores(padded([[-1, 5], [-1, -1]]))
    np.testing.assert_allclose(scores, [[0.5, 0.0], [math.sqrt(0.05), 0.0]], rtol=1e-12)
    own = BleuReferences(padded([[-2, 5], [-2, 5], [-2, -1]]), 2).own_scores()
    np.testing.assert_allclose(own, [[0.5, 0.5, 0.0], [math.sqrt(0.05)] * 2 + [0.0]], rtol=1e-12)


def test_what_lies_behind_the_end_counts_for_nothing():
    rows, others = [[1, 2], [2, 1, 1], [3]], [[1, 2, 1], [2]]
    for padding in (1, 2, 9, -1):
        found = bleu(padded(rows, padding), padded(others, padding), 3)
        np.testing.assert_array_equal(found, bleu(padded(rows), padded(others), 3))
        np.testing.assert_array_equal(
            self_bleu(padded(rows, padding), 3), self_bleu(padded(rows), 3)
        )


def test_no_hypotheses_have_no_scores():
    nothing = Sequences(np.zeros((0, 4), np.int32), np.zeros((0, 4), bool))
    assert BleuReferences(padded([[1, 2]]), 3).scores(nothing).shape == (3, 0)


def test_only_empty_references_match_nothing():
    empty = Sequences(np.zeros((2, 3), np.int32), np.zeros((2, 3), bool))
    np.testing.assert_array_equal(bleu(padded([[0, 0], []]), empty, 2), [0.0, 0.0])
    np.testing.assert_array_equal(self_bleu(empty, 2), [0.0, 0.0])


@pytest.mark.parametrize("function", [self_bleu, lambda some, n: bleu(padded([[1]]), some, n)])
def test_no_references_are_refused(function):
    with pytest.raises(ValueError, match="no references"):
        function(padded([]), 2)


def test_no_samples_to_hold_references_against_are_refused():
    with pytest.raises(ValueError, match="no references"):
        backward_bleu(padded([]), padded([[1]]), 2)


def test_one_sample_has_no_self_bleu():
    with pytest.raises(ValueError, match="needs at least two"):
        self_bleu(padded([[1, 2]]), 2)


@pytest.mark.parametrize("order", [0, -1])
def test_an_order_below_1_is_refused(order):
    rows = padded([[1], [2]])
    for function in (lambda: bleu(rows, rows, order), lambda: self_bleu(rows, order)):
        with pytest.raises(ValueError, match=f"max_order={order}"):
            function()


# At size.


def test_ten_thousand_captions_of_one_vocabulary():
    samples = benchmark.captions(10_000, seed=0)
    references = BleuReferences(samples, 5)
    own, all_of_them = references.own_scores(), references.scores(samples)
    assert own.shape == (5, 10_000)
    # With itself among the references every sentence is perfect; without, none of these quite is.
    np.testing.assert_allclose(all_of_them, 1.0, rtol=1e-12)
    assert (own <= all_of_them + 1e-12).all()
    assert 0.01 < own[4].mean() < own[1].mean() < 0.99
    assert (np.diff(own.mean(axis=1)) < 0).all()


# The benchmark.


def test_benchmark_compares_equal_scores():
    found = benchmark.measure(num_sequences=12, seed=1)
    assert found.num_sequences == 12
    assert found.largest_difference < 1e-9
    assert found.ratio == found.nltk_seconds / found.seconds
    assert found.seconds > 0
    assert benchmark.seconds(12, seed=1, runs=1) > 0
    found = found._replace(num_sequences=1000, seconds=0.02, nltk_seconds=30.0)
    assert benchmark.line(found).startswith(
        "self-BLEU-2..5 of 1,000 sequences: 0.02 s, NLTK 30 s, 1,500 times as long; "
    )


def test_benchmark_tells_of_both_sizes(monkeypatch):
    monkeypatch.setattr(
        benchmark, "measure", lambda number, seed: benchmark.Comparison(number, 0.5, 2.0, 0.0)
    )
    monkeypatch.setattr(benchmark, "seconds", lambda number, seed: number / 1e5)
    first, second = benchmark.lines()
    assert first.startswith("self-BLEU-2..5 of 1,000 sequences: 0.5 s, NLTK 2 s, 4 times as long")
    assert second == "self-BLEU-2..5 of 10,000 sequences: 0.1 s"


def test_benchmark_sees_a_difference(monkeypatch):
    scores = benchmark._own_scores
    monkeypatch.setattr(benchmark, "_own_scores", lambda samples: scores(samples) + 0.25)
    assert benchmark.measure(5, seed=0).largest_difference == pytest.approx(0.25)


def test_benchmark_captions_are_like_captions():
    samples = benchmark.captions(2000, seed=3)
    lengths = samples.mask.sum(axis=1)
    assert 10 < lengths.mean() < 12
    counts = np.sort(np.bincount(samples.tokens[samples.mask]))[::-1]
    assert 1.6 < counts[0] / counts[1] < 2.4  # Zipf's law
    np.testing.assert_array_equal(samples.tokens, benchmark.captions(2000, seed=3).tokens)
    assert (samples.tokens != benchmark.captions(2000, seed=4).tokens).any()


def test_benchmark_without_nltk_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk.translate.bleu_score", None)
    with pytest.raises(UserError, match=r"nltk: pip install -e '\.\[test\]'"):
        benchmark.measure(3, seed=0)
