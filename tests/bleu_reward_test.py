"""BLEU on the device against NLTK's, sentence by sentence, and against `metrics.bleu`."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bleu_test import nltk_bleu, padded, random_rows

from seqgan_jax.blocks import JUDGED_ROWS
from seqgan_jax.metrics.bleu_score import bleu
from seqgan_jax.metrics.scorer import words
from seqgan_jax.search import bleu_reward as module
from seqgan_jax.search.bleu_reward import bleu_reward
from seqgan_jax.types import Sequences

TOLERANCE = 1e-6  # float32 against NLTK's float64
LARGEST = np.iinfo(np.int32).max


def judged(reward, sequences):
    """Under jit, as the methods have it."""
    scores = jax.jit(reward)(jnp.asarray(sequences.tokens), jnp.asarray(sequences.mask))
    assert scores.dtype == jnp.float32
    return np.asarray(scores)


def every_row(vocab_size, longest):
    """All sequences of each length 0 to `longest`."""
    lengths = range(longest + 1)
    return [list(row) for n in lengths for row in itertools.product(range(vocab_size), repeat=n)]


# Against NLTK.


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize(("seed", "number", "lowest"), [(0, 1, 0), (1, 2, -1), (2, 7, 0)])
def test_every_short_sequence_scores_as_by_nltk(seed, number, lowest, order):
    # Few references over ids 0 and 1, or -1 too: lengths with gaps and ties, n-grams that are
    # missing; the sequences know one id more.
    references = random_rows(np.random.default_rng(seed), number, 2, lowest)
    hypotheses = [*every_row(3, 4), [0] * 8, references[0] * 2, [-1, 0, -1]]
    expected = [nltk_bleu(each, references, order) for each in hypotheses]
    found = judged(bleu_reward(padded(references), order), padded(hypotheses))
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.parametrize("vocab_size", [4, 30])
def test_longer_sequences_score_as_by_nltk(vocab_size):
    rng = np.random.default_rng(vocab_size)
    references = random_rows(rng, 25, vocab_size, longest=20)
    hypotheses = random_rows(rng, 60, vocab_size + 3, longest=16) + references[:10]
    for order in (3, 4):
        expected = [nltk_bleu(each, references, order) for each in hypotheses]
        assert 0.05 < np.mean(expected) < 0.95
        found = judged(bleu_reward(padded(references), order), padded(hypotheses))
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.parametrize("vocab_size", [1_000_000, LARGEST])
def test_many_references_of_a_large_vocabulary(vocab_size):
    # 10,000s of ids: pairs of them, and triples, have no number of 32 bits.
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, vocab_size, (3000, 20))
    tokens[:, 10:] = rng.integers(vocab_size - 40, vocab_size, (3000, 10))  # 2^31 - 2 among them
    assert tokens.max() == vocab_size - 1
    full = np.ones(tokens.shape, bool)
    mask = full & (np.arange(20) < rng.integers(1, 21, (3000, 1)))
    references = Sequences(tokens.astype(np.int32), mask)
    # Copies, of which a share of tokens is replaced by others of the references or by unseen ones.
    copies = tokens[rng.integers(0, 3000, 600)]
    others = np.where(
        rng.random((600, 20)) < 0.5, copies[::-1], rng.integers(0, LARGEST, (600, 20))
    )
    copies = np.where(rng.random((600, 20)) < rng.random((600, 1)), copies, others)
    lengths = rng.integers(0, 21, (600, 1))
    hypotheses = Sequences(copies.astype(np.int32), np.arange(20) < lengths)
    found = judged(bleu_reward(references, 3), hypotheses)
    expected = bleu(hypotheses, references, 3)
    assert np.unique(expected.round(3)).size > 100
    assert len(expected) > 2 * JUDGED_ROWS  # several blocks, the last of them not full
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    rows = [row[known].tolist() for row, known in zip(tokens, mask, strict=True)]
    for index in (0, 1, 599):
        row = copies[index, : lengths[index, 0]].tolist()
        assert found[index] == pytest.approx(nltk_bleu(row, rows, 3), abs=TOLERANCE)


def test_the_end_token_is_no_word():
    end, rng = 3, np.random.default_rng(0)
    known = random_rows(rng, 12, end)
    references = padded([[*row, end] for row in known])
    rows = random_rows(rng, 60, end, longest=9)
    # Some reach T without an end; some have the end alone.
    hypotheses = padded([[*row, end] for row in rows] + [[0] * 10, [end]], padding=end)
    found = judged(bleu_reward(references, 3, end), hypotheses)
    expected = bleu(words(hypotheses, end), words(references, end), 3)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    plain = [nltk_bleu(row, known, 3) for row in rows]
    np.testing.assert_allclose(found[: len(rows)], plain, atol=TOLERANCE)
    assert found[-1] == 0.0
    assert abs(found - judged(bleu_reward(references, 3), hypotheses)).max() > 0.1


@pytest.mark.parametrize("length", [1, 2, 4, 12])
def test_the_length_need_not_be_the_references_nor_the_order(length):
    rng = np.random.default_rng(length)
    references = random_rows(rng, 6, 2, shortest=1, longest=6)
    hypotheses = [*random_rows(rng, 30, 3, longest=length), [1] * length]
    found = judged(bleu_reward(padded(references), 5), padded(hypotheses))
    expected = [nltk_bleu(each, references, 5) for each in hypotheses]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


# By hand.


def test_by_hand():
    # As of bleu_test: 7 counts 2 of 2, 8 and 9 one each; 3 / 3 2-grams; 1 / 2 3-grams.
    reward = bleu_reward(padded([[7, 8, 9], [8, 7, 7]]), 3)
    # 7 7 7: 2 of 3, 1 of 2 and none of 1, 0.1. 9: 1 of 1, 0.1 of 1 twice, 1 against 3 is too short.
    rows = [[7, 7, 8, 9], [7, 7, 7], [9], [1, 2, 3], []]
    expected = [0.5 ** (1 / 3), (1 / 30) ** (1 / 3), 0.01 ** (1 / 3) * math.exp(-2), 0, 0]
    np.testing.assert_allclose(judged(reward, padded(rows)), expected, rtol=1e-6)


def test_of_two_closest_lengths_the_shorter_counts():
    reward = bleu_reward(padded([[1] * 3, [1] * 5]), 1)
    found = judged(reward, padded([[1] * 4, [1] * 3, [1] * 2, [1] * 5]))
    np.testing.assert_allclose(found, [1, 1, math.exp(-0.5), 1], rtol=1e-6)


def test_what_lies_behind_the_end_counts_for_nothing():
    rows, others = [[1, 2], [2, 1, 1], [3]], [[1, 2, 1], [2]]
    expected = bleu(padded(rows), padded(others), 3)
    for padding in (2, -1):
        found = judged(bleu_reward(padded(others, padding), 3), padded(rows, padding))
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_only_empty_references_match_nothing():
    empty = Sequences(np.zeros((2, 3), np.int32), np.zeros((2, 3), bool))
    np.testing.assert_array_equal(judged(bleu_reward(empty, 2), padded([[0, 0], []])), 0.0)


# As a reward.


@functools.cache
def some_reward():
    return bleu_reward(padded(random_rows(np.random.default_rng(5), 20, 4)), 3)


def some_sequences():
    sequences = padded(random_rows(np.random.default_rng(6), 24, 4))
    return jnp.asarray(sequences.tokens), jnp.asarray(sequences.mask)


def test_leading_axes_are_kept_and_vmap_maps():
    tokens, mask = some_sequences()
    flat = jax.jit(some_reward())(tokens, mask)
    tokens, mask = tokens.reshape(4, 6, -1), mask.reshape(4, 6, -1)
    together = jax.jit(some_reward())(tokens, mask)
    assert together.shape == (4, 6)
    np.testing.assert_array_equal(together.reshape(-1), flat)
    mapped = jax.jit(jax.vmap(some_reward()))(tokens, mask)
    np.testing.assert_allclose(mapped, together, rtol=1e-6)


def test_blocks_do_not_show_under_vmap():
    tokens, mask = (jnp.tile(leaf, (25, 1)).reshape(2, 300, -1) for leaf in some_sequences())
    expected = jax.jit(some_reward())(*some_sequences())
    found = jax.jit(jax.vmap(some_reward()))(tokens, mask)
    np.testing.assert_allclose(found.reshape(25, 24), jnp.tile(expected, (25, 1)), rtol=1e-6)


def test_memory_does_not_grow_with_the_number_of_sequences():
    def temporary(number):
        tokens = jax.ShapeDtypeStruct((number, 20), jnp.int32)
        mask = jax.ShapeDtypeStruct((number, 20), bool)
        compiled = jax.jit(some_reward()).lower(tokens, mask).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    more = temporary(100 * JUDGED_ROWS) - temporary(2 * JUDGED_ROWS)
    # Tokens and mask are 100 bytes a sequence, and may be copied; n-grams of all would be more.
    assert more < 98 * JUDGED_ROWS * 400


def test_references_are_counted_once(monkeypatch):
    counted, plain = [], module._trie
    monkeypatch.setattr(module, "_trie", lambda *args: counted.append(1) or plain(*args))
    reward = bleu_reward(padded([[1, 2]]), 2)
    for length in (2, 3):
        judged(reward, padded([[1] * length]))
    assert len(counted) == 1


@pytest.mark.parametrize("order", [0, -1])
def test_an_order_below_1_is_refused(order):
    with pytest.raises(ValueError, match=f"max_order={order}"):
        bleu_reward(padded([[1]]), order)


def test_no_references_are_refused():
    with pytest.raises(ValueError, match="no references"):
        bleu_reward(padded([]), 2)


def test_an_unknown_word_is_no_word_of_the_references():
    """As `Scorer` has it: otherwise a generator earned by drawing the unknown token."""
    references, hypotheses = padded([[3, 1, 4], [1, 1]]), padded([[3, 1, 4], [1, 1], [3, 4]])
    unknown = 1
    ours = words(references, None, unknown)  # ids that equal no token
    found = judged(bleu_reward(references, 2, unknown_token=unknown), hypotheses)
    np.testing.assert_allclose(found, bleu(hypotheses, ours, 2), atol=TOLERANCE)
    assert found[1] == 0.0
    assert found[0] < judged(bleu_reward(references, 2), hypotheses)[0]
