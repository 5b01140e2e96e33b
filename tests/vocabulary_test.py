"""Vocabularies against small ones written out."""

import json

import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data.vocabulary import Vocabulary, build_vocabulary, vocabulary_from_json

COUNTS = {"b": 2, "the": 5, "a": 2, "rare": 1, "never": 0, "<eos>": 3}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_size": 100}, ("the", "<eos>", "a", "b", "rare")),
        ({"max_size": 100, "min_count": 2}, ("the", "<eos>", "a", "b")),
        ({"max_size": 6}, ("the", "<eos>", "a")),  # 3 special tokens
        ({"max_size": 6, "has_end": False}, ("the", "<eos>", "a", "b")),  # 2
        ({"max_size": 100, "min_count": 9}, ()),
    ],
)
def test_words_by_falling_count_then_by_letters(options, words):
    vocabulary = build_vocabulary(COUNTS, **options)
    assert vocabulary.words == words
    assert len(vocabulary) <= options["max_size"]


def test_ids_with_an_end():
    vocabulary = Vocabulary(("x", "y"))
    assert vocabulary.names == ("<pad>", "<eos>", "<unk>", "x", "y")
    assert (vocabulary.pad, vocabulary.end, vocabulary.unknown, len(vocabulary)) == (0, 1, 2, 5)
    assert vocabulary.ids == {"x": 3, "y": 4}


def test_ids_without_an_end():
    vocabulary = Vocabulary(("x", "y"), has_end=False)
    assert vocabulary.names == ("<pad>", "<unk>", "x", "y")
    assert (vocabulary.pad, vocabulary.end, vocabulary.unknown, len(vocabulary)) == (0, None, 1, 4)
    assert vocabulary.ids == {"x": 2, "y": 3}


def test_a_word_written_like_a_special_token_is_a_word():
    vocabulary = build_vocabulary({"<eos>": 3, "<pad>": 2, "<unk>": 1}, max_size=9)
    assert vocabulary.ids == {"<eos>": 3, "<pad>": 4, "<unk>": 5}


def test_nearest():
    vocabulary = Vocabulary(("bicycle", "motorcycle", "giraffe"))
    assert vocabulary.nearest("bicycel") == ["bicycle"]
    assert vocabulary.nearest("qqq") == []


@pytest.mark.parametrize("has_end", [False, True])
def test_json(has_end):
    vocabulary = Vocabulary(("中", "<eos>", 'quo"te'), has_end)
    assert vocabulary_from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "must have the field words"),
        ({"has_end": True}, "must have the field words"),
        ({"words": "ab", "has_end": True}, "must have the field words"),
        ({"words": ["a"]}, "has_end=None"),
        ({"words": ["a"], "has_end": 1}, "has_end=1"),
        ({"words": ["a", 7], "has_end": True}, r"words\[1\]=7 must be a string"),
        ({"words": ["a", ""], "has_end": True}, r"words\[1\]='' must be a string, not empty"),
        ({"words": ["a", "b", "a"], "has_end": True}, r"words\[2\]='a' stands there twice"),
    ],
)
def test_damaged_json(values, message):
    with pytest.raises(DataError, match=message):
        vocabulary_from_json(values)
