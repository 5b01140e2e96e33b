"""Text files to data sets: small ones by hand, published ones by their counts."""

# ruff: noqa: RUF001 (letters that look alike are what is tested)

import json
import os
import pathlib

import numpy as np
import pytest

from seqgan_jax.checked import DataError
from seqgan_jax.data.text import TextCodec, load_text, text_codec_from_json
from seqgan_jax.data.tokeniser import Tokeniser
from seqgan_jax.data.vocabulary import Vocabulary
from seqgan_jax.data_hparams import TextDataHParams

WORDS = Vocabulary(("a", "b", "<eos>", "don't", "."))  # ids 3 to 7


def word_codec(**options):
    return TextCodec(WORDS, Tokeniser("word"), **options)


@pytest.fixture
def write(tmp_path):
    def write(text, name="text.txt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def published(name):
    root = pathlib.Path(__file__).resolve().parents[1]
    folder = os.environ.get("SEQGAN_DATA") or root.parent / "shared" / "data"
    path = pathlib.Path(folder) / name
    if not path.is_file():
        pytest.skip(f"no published text at {path}; set SEQGAN_DATA to the folder that holds it")
    return str(path)


# The codec.


def test_codec_numbers():
    codec = word_codec()
    assert (codec.kind, codec.vocab_size) == ("text", 8)
    assert (codec.start_token, codec.pad_token, codec.end_token, codec.unknown_token) == (
        0,
        0,
        1,
        2,
    )
    codec = TextCodec(Vocabulary(("a", "b"), has_end=False), Tokeniser("word"))
    assert (codec.start_token, codec.pad_token, codec.end_token, codec.unknown_token) == (
        *(0, 0, None, 1),
    )


def test_encode_and_decode():
    codec = word_codec()
    assert codec.encode("a don't b.") == [3, 6, 4, 7]
    assert codec.encode("") == []
    assert codec.decode(np.array([3, 6, 4, 7, 1, 4, 0, 0])) == "a don't b."
    assert codec.decode([1]) == ""


def test_the_end_as_a_word_is_not_the_end():
    codec = word_codec()
    assert codec.encode("a <eos> b") == [3, 5, 4]
    assert codec.decode([3, 5, 4, 1, 3]) == "a <eos> b"


def test_unknown_tokens_keep_their_places():
    codec = word_codec()
    assert codec.encode("a zebra b") == [3, 2, 4]
    assert codec.decode([3, 2, 0, 4]) == "a <unk> <pad> b"
    assert codec.encode(codec.decode([3, 2, 4, 2])) == [3, 2, 4, 2]
    letters = TextCodec(Vocabulary(("a", "b")), Tokeniser("character"))
    assert letters.decode([3, 2, 4]) == "a\ufffdb"
    assert letters.encode("a\ufffdb") == [3, 2, 4]


def test_strict_encoding_names_the_word_and_its_like():
    codec = TextCodec(Vocabulary(("bicycle", "bicycles", "clock")), Tokeniser("word"))
    assert codec.encode("bicycle clock", strict=True) == [3, 5]
    with pytest.raises(DataError, match="lacks 'bicycel'; the closest are 'bicycle', 'bicycles'"):
        codec.encode("clock bicycel", strict=True)
    with pytest.raises(DataError, match="lacks 'BICYCLE'; the closest are 'bicycle', 'bicycles'"):
        codec.encode("BICYCLE", strict=True)
    with pytest.raises(DataError, match="lacks 'xyz'; nothing in it is like it"):
        codec.encode("xyz", strict=True)


@pytest.mark.parametrize(
    ("per_line", "ids", "lines"),
    [
        (0, [3, 4, 3, 4, 7], "a b a b."),
        (2, [3, 4, 3, 4, 7, 1, 3], "a b\na b\n."),
        (2, [3, 4, 3, 4], "a b\na b"),
        (2, [1], ""),
    ],
)
def test_layout(per_line, ids, lines):
    assert word_codec(tokens_per_line=per_line).layout(ids) == lines


def test_codec_json():
    codec = TextCodec(WORDS, Tokeniser("character", "NFKC", drop_spaces=True), tokens_per_line=5)
    again = text_codec_from_json(json.loads(json.dumps(codec.to_json())))
    assert again.to_json() == codec.to_json()
    assert (again.vocabulary, again.tokeniser) == (codec.vocabulary, codec.tokeniser)
    for damage in ({"tokens_per_line": -1}, {"tokens_per_line": True}, {"vocabulary": 3}):
        with pytest.raises(DataError):
            text_codec_from_json(codec.to_json() | damage)


@pytest.mark.parametrize("level", ["word", "whitespace", "character"])
def test_ids_come_back_from_any_line(level):
    text = "秦 川 雄 (don't) stop , a-b “c” naïve . f’ f ! d 'e'"
    tokeniser = Tokeniser(level)
    words = tuple(sorted(set(tokeniser.split(text))))
    codec = TextCodec(Vocabulary(words), tokeniser)
    rng = np.random.default_rng(0)
    for _ in range(500):
        ids = rng.integers(3, len(codec.vocabulary), rng.integers(0, 12)).tolist()
        assert codec.encode(codec.decode([*ids, 1]), strict=True) == ids


# Reading a file as data.


def test_lengths_vocabulary_and_end_tokens(write):
    settings = TextDataHParams(
        path=write("b a\n\nb b a c\nb\nc x y z w\n"), test_path=write("b new\na b c\n", "test.txt"),
        min_length=2, max_length=4, level="whitespace",
    )  # fmt: skip
    train, test, codec, notes = load_text(settings)
    # b 3 times, a twice, c once in lines 1 and 3; lines 4 and 5 are too short and too long.
    assert codec.vocabulary == Vocabulary(("b", "a", "c"))
    np.testing.assert_array_equal(train.tokens, [[3, 4, 1, 0, 0], [3, 3, 4, 5, 1]])
    np.testing.assert_array_equal(train.mask, [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(test.tokens, [[3, 2, 1, 0, 0], [4, 3, 5, 1, 0]])
    np.testing.assert_array_equal(test.mask, [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    assert (train.tokens.dtype, train.mask.dtype) == (np.int32, bool)
    assert notes == (
        "1 of 5 lines of the training file without a token: skipped.",
        "1 of 5 lines of the training file of fewer than min_length=2 tokens: dropped.",
        "1 of 5 lines of the training file of more than max_length=4 tokens: dropped.",
        "The vocabulary has 3 of the 3 different tokens of the training lines; 0.00% of the "
        "tokens there and 20.00% of those of the test lines are unknown.",
    )


def test_one_length_needs_no_end_token(write):
    settings = TextDataHParams(
        path=write("ab\nabc\ncab\nbcab\n"), test_path=write("abcd", "test.txt"), level="character",
        min_length=3, max_length=3, too_long="cut",
    )  # fmt: skip
    train, test, codec, notes = load_text(settings)
    assert (codec.end_token, codec.unknown_token, codec.vocab_size) == (None, 1, 5)
    # a, b and c occur three times each.
    np.testing.assert_array_equal(train.tokens, [[2, 3, 4], [4, 2, 3], [3, 4, 2]])
    np.testing.assert_array_equal(test.tokens, [[2, 3, 4]])
    assert train.mask.all()
    assert test.mask.all()
    assert "1 of 4 lines of the training file of more than max_length=3 tokens: cut." in notes


def test_the_length_is_no_longer_than_the_lines(write):
    path = write("a b\nb a c\na c\nb c\n")
    assert load_text(TextDataHParams(path=path, max_length=500)).train.tokens.shape[1] == 4
    test_path = write("a b c a b c", "test.txt")
    data = load_text(TextDataHParams(path=path, test_path=test_path, max_length=500))
    assert data.train.tokens.shape[1] == data.test.tokens.shape[1] == 7


def test_sizes_and_counts_bound_the_vocabulary(write):
    path, test_path = write("a a a b b c\n" * 2 + "d\n"), write("a", "test.txt")
    small = load_text(TextDataHParams(path=path, test_path=test_path, max_size=5))
    assert small.codec.vocabulary.words == ("a", "b")
    assert "2 of the 4 different tokens" in small.notes[-1]
    common = load_text(TextDataHParams(path=path, test_path=test_path, min_count=2))
    assert common.codec.vocabulary.words == ("a", "b", "c")


def test_the_split_is_the_seed_s_and_its_vocabulary_that_of_training(write):
    lines = [f"word{number} the end" for number in range(40)]
    settings = TextDataHParams(path=write("\n".join(lines)), test_fraction=0.25, seed=7)
    train, test, codec, _ = load_text(settings)
    held = set(np.random.default_rng(7).permutation(40)[:10].tolist())
    kept = [line for number, line in enumerate(lines) if number not in held]
    assert [codec.decode(ids) for ids in train.tokens] == kept
    assert [codec.decode(ids) for ids in test.tokens] == ["<unk> the end"] * 10
    assert len(codec.vocabulary.words) == 32


def test_lines_are_normalised_alike_in_files_and_samples(write):
    settings = TextDataHParams(
        path=write("Cafe\u0301 OLÉ!\ncafé olé\nOLÉ\n" * 3), lowercase=True, drop_punctuation=True
    )
    codec = load_text(settings).codec
    assert codec.vocabulary.words == ("café", "olé")
    assert codec.encode("CAFÉ ole\u0301 ?", strict=True) == [3, 4]


def test_progress_grows_to_one(write):
    for test_path, expected in (("", [1.0, 1.0]), (write("a b", "test.txt"), [0.5, 0.5, 1.0, 1.0])):
        shares = []
        load_text(TextDataHParams(path=write("a b\nb a\na\n"), test_path=test_path), shares.append)
        assert shares == expected


@pytest.mark.parametrize(
    ("text", "test", "options", "message"),
    [
        (None, None, {}, "say --config.data.path=FILE"),
        ("a b c\n", None, {}, "text.txt: only one line can be used, so there is none to test with"),
        ("a b\n", "a b\n", {}, "text.txt: only one line can be used; must be 2 or more, to train"),
        (
            "a b\nb c\n",
            None,
            {},
            "text.txt: 2 lines can be used, and with 1 to test on only one is left to train on",
        ),
        (
            "a b\nb c\na c\n",
            None,
            {"test_fraction": 0.7},
            "with 2 to test on only one is left .* lower data.test_fraction=0.7",
        ),
        (
            "a\na a\na a a\n",
            None,
            {},
            "text.txt: .* at least data.min_count=1 times; the training lines have 1",
        ),
        ("a b\na  b\n" * 3, None, {}, "text.txt: all 6 lines that can be used are the same"),
        ("a b\nb c\n", "x\ny z\n", {}, "test.txt: the vocabulary of .*text.txt has none of its"),
        ("a b\nb c\n", "", {}, "test.txt: holds no line with a token"),
        ("a b\nb c\n", "a b\n", {"max_length": 1}, "text.txt: no line can be used: 2 too long"),
        ("a b\nb c\n", "a b c\n", {"max_length": 2}, "test.txt: no line can be used: 1 too long"),
    ],
)
def test_files_that_give_no_data(write, text, test, options, message):
    path = "" if text is None else write(text)
    test_path = "" if test is None else write(test, "test.txt")
    with pytest.raises(DataError, match=message):
        load_text(TextDataHParams(path=path, test_path=test_path, **options))


def test_two_training_lines_will_do_and_one_not(write):
    path = write("a b\nb a")
    data = load_text(TextDataHParams(path=path, test_path=write("b", "test.txt")))
    assert (len(data.train.tokens), len(data.test.tokens)) == (2, 1)
    data = load_text(TextDataHParams(path=write("a b\nb a\na a"), test_fraction=0.2))
    assert (len(data.train.tokens), len(data.test.tokens)) == (2, 1)


def test_held_out_lines_of_nothing_but_unknown_tokens_are_refused(write):
    """Each word once, so that no held-out line has one of the training lines."""
    path = write("\n".join(f"x{n} y{n}" for n in range(10)))
    advice = r"lower data\.min_count=1, raise data\.max_size=5000, or give more lines"
    with pytest.raises(DataError, match=f"text.txt: .* none of the tokens .* held out; {advice}"):
        load_text(TextDataHParams(path=path, test_fraction=0.3))


def test_a_line_that_is_cut_has_no_end(write):
    settings = TextDataHParams(
        path=write("b b b b\na a b\nb\nb a b a b a\n"), test_path=write("b b b b b", "test.txt"),
        max_length=3, too_long="cut",
    )  # fmt: skip
    train, test, codec, notes = load_text(settings)
    # b stands 7 times in what is kept, a 4 times; T is 3 tokens and an end.
    assert codec.vocabulary.words == ("b", "a")
    np.testing.assert_array_equal(
        train.tokens, [[3, 3, 3, 3], [4, 4, 3, 1], [3, 1, 0, 0], [3, 4, 3, 4]]
    )
    np.testing.assert_array_equal(train.mask.sum(axis=1), [4, 4, 2, 4])
    np.testing.assert_array_equal(test.tokens, [[3, 3, 3, 3]])
    assert test.mask.all()
    assert notes == (
        "2 of 4 lines of the training file of more than max_length=3 tokens: cut, without an end "
        "token.",
        "1 of 1 lines of the test file of more than max_length=3 tokens: cut, without an end "
        "token.",
        "1 of 1 test lines stand in the training file, too.",
    )


# Published files.


def test_image_captions():
    settings = TextDataHParams(
        path=published("text/image_coco.txt"), test_path=published("text/test_coco.txt"),
        level="whitespace", max_length=40, max_size=10_000,
    )  # fmt: skip
    train, test, codec, notes = load_text(settings)
    assert train.tokens.shape == test.tokens.shape == (10_000, 36)
    assert codec.vocab_size == 6_094 + 3
    lengths = train.mask.sum(axis=1) - 1
    assert (lengths.min(), lengths.max()) == (7, 35)
    with open(settings.path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert [codec.decode(ids) for ids in train.tokens] == [" ".join(x.split()) for x in lines]
    assert len(notes) == 2  # the other on words that the test file alone has
    assert notes[0] == "15 of 10,000 test lines stand in the training file, too."


def test_poems():
    settings = TextDataHParams(
        path=published("poems/shi.txt"), level="whitespace", drop_punctuation=True,
        min_length=20, max_length=20, tokens_per_line=5,
    )  # fmt: skip
    train, test, codec, notes = load_text(settings)
    assert train.tokens.shape == (16_394 - 1_639, 20)
    assert test.tokens.shape == (1_639, 20)
    assert codec.end_token is None
    # A poem that stands in the file twice is learnt from or tested with.
    learnt, tested = (set(map(codec.decode, part.tokens)) for part in (train, test))
    assert not learnt & tested
    with open(settings.path, encoding="utf-8") as file:
        poems = [line.translate(str.maketrans("", "", "，。")).split() for line in file]
    assert notes[0] == (
        f"{16_394 - len(set(map(' '.join, poems))):,} of 16,394 lines repeat another: put on its "
        "side of the split."
    )
    assert len({character for poem in poems for character in poem}) == 4_769
    assert codec.vocab_size == 2 + len({character for poem in learnt for character in poem.split()})
    assert [len(line.split()) for line in codec.layout(train.tokens[0]).split("\n")] == [5] * 4
    assert len(notes) == 2
    whole = load_text(TextDataHParams(path=settings.path, level="whitespace", max_length=24))
    assert whole.train.mask.sum(axis=1).tolist() == [25] * (16_394 - 1_639)
