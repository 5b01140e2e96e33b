"""Sequences that anybody wrote: a line each or as stanzas, empty ones, and what is refused."""

import numpy as np
import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data.ids import IdCodec
from seqgan_jax.data.text import TextCodec
from seqgan_jax.data.tokeniser import Tokeniser
from seqgan_jax.data.vocabulary import Vocabulary
from seqgan_jax.data.written import read_sequences

WORDS = Vocabulary(("a", "b", "<eos>", "don't", "."))  # ids 3 to 7


def word_codec(**options):
    return TextCodec(WORDS, Tokeniser("word"), **options)


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "text.txt"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_read_one_sequence_a_line(write):
    path = write("\ufeffa b\r\n\na b a b a b\r\nb zebra\n   \n\n")
    sequences, notes = read_sequences(path, word_codec(), length=5)
    np.testing.assert_array_equal(
        sequences.tokens, [[3, 4, 1, 0, 0], [1, 0, 0, 0, 0], [3, 4, 3, 4, 3], [4, 2, 1, 0, 0]]
    )
    np.testing.assert_array_equal(sequences.mask.sum(axis=1), [3, 1, 5, 3])
    assert notes == (
        "1 of 6 lines blank: empty sequences.",
        "2 of 6 lines blank: skipped.",
        "1 of 4 sequences longer than 5 tokens: cut.",
        "1 of 10 tokens unknown.",
    )


@pytest.mark.parametrize(
    ("text", "lengths", "notes"),
    [
        ("\n\na\n", [0, 0, 1], ("2 of 3 lines blank: empty sequences.",)),
        ("a\n\n", [1], ("1 of 2 lines blank: skipped.",)),
        ("a\n", [1], ()),
    ],
)
def test_blank_lines_are_empty_sequences_but_at_the_end(write, text, lengths, notes):
    sequences, told = read_sequences(write(text), word_codec(), length=3)
    assert (sequences.mask.sum(axis=1) - 1).tolist() == lengths
    assert told == notes


def test_without_an_end_or_between_stanzas_blank_lines_are_no_sequences(write):
    sequences, notes = read_sequences(write("1 2\n\n3 4\n"), IdCodec(9), length=2)
    assert sequences.tokens.tolist() == [[1, 2], [3, 4]]
    assert notes == ("1 of 3 lines blank: skipped.",)
    sequences, notes = read_sequences(write("a b\n\nb\n"), word_codec(tokens_per_line=2), length=4)
    assert sequences.tokens.tolist() == [[3, 4, 1, 0], [4, 1, 0, 0]]
    assert notes == ("1 of 3 lines blank: skipped.",)


def test_read_sequences_of_one_length(write):
    codec = IdCodec(9)
    sequences, notes = read_sequences(write("1 2 3\n4 5\n1 2 3 4\n"), codec, length=3)
    np.testing.assert_array_equal(sequences.tokens, [[1, 2, 3], [4, 5, 0], [1, 2, 3]])
    np.testing.assert_array_equal(sequences.mask, [[1, 1, 1], [1, 1, 0], [1, 1, 1]])
    assert notes == (
        "1 of 3 sequences longer than 3 tokens: cut.",
        "1 of 3 sequences shorter than 3 tokens.",
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a b\na b\n\nb b\nb\n", ["a b a b", "b b b"]),  # as `layout` writes them
        ("a b\na .\n", ["a b a."]),
        ("a b a b\n\nb b b\na a\n", ["a b a b", "b b b", "a a"]),  # as `decode` does
        ("a b\n" * 3, ["a b"] * 3),  # six tokens in one group, and there is room for five
        ("a\nb b\n\na\n", ["a", "b b", "a"]),
        (
            "\na b\na b\na b\n\na b\n",
            ["a b a b a b", "a b"],
        ),  # just no room for an end a stanza is cut
    ],
)
def test_read_stanzas(write, text, lines):
    codec = word_codec(tokens_per_line=2)
    sequences, _ = read_sequences(write(text), codec, length=6)
    assert [codec.decode(ids) for ids in sequences.tokens] == lines


def test_written_samples_are_read_back(write):
    rng = np.random.default_rng(1)
    ids = [rng.integers(3, 8, length).tolist() for length in rng.integers(0, 8, 50)]
    ids.append([3] * 8)  # which a generator has not ended
    ids.append([3])  # at the end of a file an empty one cannot be told from none
    assert [] in ids
    lines, stanzas = word_codec(), word_codec(tokens_per_line=3)
    not_empty = [each for each in ids if each]
    for text, codec, expected in (
        ("\n".join(map(lines.decode, ids)), lines, ids),
        ("\n".join(map(stanzas.decode, not_empty)), stanzas, not_empty),
        ("\n\n".join(map(stanzas.layout, not_empty)), stanzas, not_empty),
    ):
        sequences, _ = read_sequences(write(text), codec, length=8)
        for row, mask, one in zip(*sequences, expected, strict=True):
            assert row[mask].tolist() == ([*one, 1] if len(one) < 8 else one)


def test_samples_that_cannot_be_read(write):
    with pytest.raises(DataError, match=r"text.txt:2: '9' is no id; must be in 0..8"):
        read_sequences(write("1 2\n3 9\n"), IdCodec(9), 3)
    with pytest.raises(DataError, match=r"text.txt: holds no sequence"):
        read_sequences(write("\n \n"), word_codec(), 3)
    with pytest.raises(DataError, match=r"text.txt:1: holds a NUL"):
        read_sequences(write("a\0b\n"), word_codec(), 3)
