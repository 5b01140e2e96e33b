"""Files to flat arrays of numbers, and those to rows."""

import numpy as np
import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data.corpus import (
    Corpus,
    Kept,
    Numbering,
    held_out,
    kinds,
    padded,
    read_corpus,
    select,
)
from seqgan_jax.data.tokeniser import Tokeniser

LINES = "a b\n\nc a b a\na\n  \nd d d d d d\nb c a\n"  # of 2, 0, 4, 1, 0, 6 and 3 tokens


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text(LINES, encoding="utf-8")
    return str(path)


def read(path, kept, numbering):
    return read_corpus(path, Tokeniser("whitespace"), numbering, kept)


def test_numbering_is_in_the_order_of_first_coming():
    numbering = Numbering()
    assert [numbering[token] for token in "babcab"] == [0, 1, 0, 2, 1, 0]
    assert list(numbering) == ["b", "a", "c"]


def test_lines_outside_the_lengths_are_dropped(path):
    numbering = Numbering()
    corpus = read(path, Kept(2, 4, cut=False), numbering)
    assert list(numbering) == ["a", "b", "c"]  # of dropped lines no token is numbered
    np.testing.assert_array_equal(corpus.ids, [0, 1, 2, 0, 1, 0, 1, 2, 0])
    np.testing.assert_array_equal(corpus.lengths, [2, 4, 3])
    # blank, short, long, shortest, longest, longest of the short, shortest of the long
    assert corpus[2:] == (2, 1, 1, 1, 6, 1, 6)


def test_long_lines_are_cut(path):
    numbering = Numbering()
    corpus = read(path, Kept(3, 3, cut=True), numbering)
    assert list(numbering) == ["c", "a", "b", "d"]
    np.testing.assert_array_equal(corpus.ids, [0, 1, 2, 3, 3, 3, 2, 0, 1])
    np.testing.assert_array_equal(corpus.lengths, [3, 3, 3])
    assert corpus[2:] == (2, 2, 2, 1, 6, 2, 4)


def test_a_second_file_goes_on_with_the_numbers(path):
    numbering = Numbering({"d": 0, "c": 1})
    corpus = read(path, Kept(2, 2, cut=False), numbering)
    np.testing.assert_array_equal(corpus.ids, [2, 3])


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (
            Kept(7, 9, cut=False),
            r"5 too short \(data.min_length=7\); they have 1 to 6 tokens; "
            "set data.min_length to 6 or less",
        ),
        (
            Kept(5, 5, cut=False),
            r"4 too short \(data.min_length=5\) and 1 too long \(data.max_length=5\); "
            "they have 1 to 6 tokens; set data.min_length to 4 or less, or data.max_length to 6 "
            "or more, or data.too_long to 'cut'",
        ),
    ],
)
def test_no_line_of_the_right_length(path, kept, message):
    with pytest.raises(DataError, match=f"lines.txt: no line can be used: {message}"):
        read(path, kept, Numbering())


@pytest.mark.parametrize("contents", ["", "\n \n\t\n", "\ufeff"])
def test_a_file_without_tokens(tmp_path, contents):
    path = tmp_path / "empty.txt"
    path.write_text(contents, encoding="utf-8")
    with pytest.raises(DataError, match=r"empty.txt: holds no line with a token"):
        read(str(path), Kept(1, 9, cut=False), Numbering())


def test_selected_lines_keep_their_order():
    corpus = Corpus(np.array([5, 6, 7, 8, 9, 9]), np.array([2, 1, 3]))
    chosen = select(corpus, np.array([True, False, True]))
    np.testing.assert_array_equal(chosen.ids, [5, 6, 8, 9, 9])
    np.testing.assert_array_equal(chosen.lengths, [2, 3])


@pytest.mark.parametrize(
    ("number", "fraction", "expected"),
    [(10, 0.3, 3), (10, 0.01, 1), (10, 0.99, 9), (2, 0.5, 1), (1000, 0.1, 100)],
)
def test_held_out_numbers(number, fraction, expected):
    chosen = held_out(np.arange(number), fraction, seed=3)
    assert chosen.shape == (number,)
    assert chosen.sum() == expected


def test_held_out_is_the_seed_s_permutation():
    chosen = held_out(np.arange(50), 0.2, seed=4)
    first = np.random.default_rng(4).permutation(50)[:10]
    np.testing.assert_array_equal(np.flatnonzero(chosen), np.sort(first))
    assert (chosen != held_out(np.arange(50), 0.2, seed=5)).any()


@pytest.mark.parametrize("seed", range(20))
def test_sequences_of_one_kind_stay_together(seed):
    of_kind = np.array([7, 7, -1, 3, 3, 3, 9, 9, 9, 9, 9, 9])
    chosen = held_out(of_kind, 0.25, seed)
    assert chosen.sum() == 3
    assert not set(of_kind[chosen]) & set(of_kind[~chosen])


def test_repetition_is_as_frequent_on_both_sides():
    """900 sequences stand once and 300 thrice: half of all, and so half of those held out."""
    of_kind = np.concatenate([np.arange(900), np.repeat(np.arange(900, 1200), 3)])
    shares = [(of_kind[held_out(of_kind, 0.1, seed)] >= 900).mean() for seed in range(50)]
    # 180 are held out, about 30 kinds of three among them: a deviation of .05 a draw.
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)


def test_numbers_of_kinds_do_not_matter():
    """They are hashes, others in every process."""
    of_kind = np.random.default_rng(0).integers(0, 40, 100)
    renamed = np.random.default_rng(1).permutation(40)[of_kind]
    np.testing.assert_array_equal(held_out(of_kind, 0.3, 5), held_out(renamed, 0.3, 5))
    pairs = np.repeat([4, 2, 9], 2)  # all too large for one sequence: the first is held out
    for of_kind in (pairs, -pairs):
        np.testing.assert_array_equal(held_out(of_kind, 0.1, 0), np.arange(6) < 2)


def test_the_smallest_kind_is_held_out_where_all_are_too_large():
    of_kind = np.array([7, 7, 7, 3, 3, 9, 9, 9, 9, 9])
    np.testing.assert_array_equal(held_out(of_kind, 0.1, seed=1), of_kind == 3)


def test_kinds_are_lines_of_the_same_tokens():
    corpus = Corpus(np.array([5, 6, 7, 5, 6, 5, 5], np.int32), np.array([2, 1, 3, 1]))
    one = kinds(corpus).tolist()
    assert len(set(one)) == 4
    # The same in another corpus, whatever its lines are.
    other = Corpus(np.array([5, 5, 6, 6, 5], np.int32), np.array([1, 2, 2]))
    again = kinds(other).tolist()
    assert again[1] == one[0]
    assert again[0] == one[3]
    assert again[2] not in one


def test_padded():
    sequences = padded(np.array([3, 4, 5, 6], np.uint8), np.array([1, 3]), length=4, pad=9)
    np.testing.assert_array_equal(sequences.tokens, [[3, 9, 9, 9], [4, 5, 6, 9]])
    np.testing.assert_array_equal(sequences.mask, [[1, 0, 0, 0], [1, 1, 1, 0]])
    assert (sequences.tokens.dtype, sequences.mask.dtype) == (np.int32, bool)
