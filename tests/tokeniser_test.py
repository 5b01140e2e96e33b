"""Lines to tokens and back: examples by hand, and what must hold of any text."""

# ruff: noqa: RUF001 (letters that look alike are what is tested)

import sys
import unicodedata

import numpy as np
import pytest

from seqgan_jax.checked import ConfigError, DataError
from seqgan_jax.data import tokeniser as tokeniser_module
from seqgan_jax.data.tokeniser import Tokeniser, tokeniser_from_json

# Letters with and without accents, bare accents, joiners, quotes, marks and symbols of several
# scripts, spaces and control characters: what rules about neighbours could trip over.
AWKWARD = (
    "aB1_é'’‘“”\"«»()[]{}<>.,;:!?…-/%$+=#@&ßİΣσς \t\r\x00\x1c\x85\xa0\u2028\u3000"
    "\u0301\u0338\u0323\u200d\u200c\u00ad\ufe0f\ufeff中文，。（）！□हिन्दीไทยㄱ가\u1100\u1161\u11a8"
    "👩😀\U0001f3fd𝔘𐐀ﬁﷺ´№Ⅷ½"
)


def random_lines(seed, number=400):
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(number):
        characters = list(rng.choice(list(AWKWARD), size=rng.integers(0, 30)))
        characters += [" ", *rng.choice(["don't", "<unk>", "<eos>", "end."], size=2)]
        for point in rng.integers(0, sys.maxunicode + 1, size=4):
            if not 0xD800 <= point < 0xE000:  # no half of a pair comes out of UTF-8
                characters.append(chr(point))
        lines.append("".join(rng.permutation(characters)))
    return lines


@pytest.mark.parametrize(
    ("line", "tokens", "joined"),
    [
        ("a bicycle, with a clock.", ["a", "bicycle", ",", "with", "a", "clock", "."], None),
        ("I don't know (yet)!", ["I", "don't", "know", "(", "yet", ")", "!"], None),
        ("l’arbre d'or", ["l’arbre", "d'or"], None),
        ("dogs' 'tis", ["dogs", "'", "'", "tis"], "dogs ' ' tis"),
        ("well-known 3.5%", ["well", "-", "known", "3", ".", "5", "%"], "well - known 3. 5%"),
        ("“Hi,” she said…", ["“", "Hi", ",", "”", "she", "said", "…"], None),
        ("snake_case x2", ["snake_case", "x2"], None),
        ("wait... what?!", ["wait", ".", ".", ".", "what", "?", "!"], None),
        ("he saw <unk> .", ["he", "saw", "<unk>", "."], "he saw <unk>."),
        ("a<b", ["a", "<", "b"], "a < b"),
        ("naïve Größe", ["naïve", "Größe"], None),
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा", "।"], None),  # vowel signs are marks, not letters
        ("你好，世界。", ["你好", "，", "世界", "。"], "你好， 世界。"),
        ("ok 👍\U0001f3fd.", ["ok", "👍", "\U0001f3fd", "."], "ok 👍 \U0001f3fd."),
        ("", [], None),
        ("  \t ", [], ""),
    ],
)
def test_words(line, tokens, joined):
    tokeniser = Tokeniser("word")
    assert tokeniser.split(line) == tokens
    assert tokeniser.join(tokens) == (line if joined is None else joined)


@pytest.mark.parametrize(
    ("options", "line", "tokens"),
    [
        ({}, " a  man's (hat) . ", ["a", "man's", "(hat)", "."]),
        ({"drop_punctuation": True}, "秦 川 ， -- don't $ ().", ["秦", "川", "don't", "$"]),
        ({"lowercase": True}, "Straße DON'T", ["straße", "don't"]),
        ({}, "a\tb\x1fc\x7fd\x85e\u3000f", ["a", "b", "c", "d", "e", "f"]),
        ({"normal_form": "NFKC"}, "ﬁsh ２", ["fish", "2"]),
        ({"normal_form": "none"}, "e\u0301 é", ["e\u0301", "é"]),
        ({"normal_form": "NFC"}, "e\u0301 ﬁ", ["é", "ﬁ"]),
    ],
)
def test_whitespace(options, line, tokens):
    assert Tokeniser("whitespace", **options).split(line) == tokens
    assert Tokeniser("whitespace", **options).join(["a", "b."]) == "a b."


@pytest.mark.parametrize(
    ("options", "line", "tokens"),
    [
        ({}, " ab, c", [" ", "a", "b", ",", " ", "c"]),
        ({"drop_spaces": True}, " ab, c\u3000d", ["a", "b", ",", "c", "d"]),
        ({"drop_punctuation": True}, "秦川，雄。", ["秦", "川", "雄"]),
        ({"lowercase": True}, "AΣ", ["a", "ς"]),
        ({}, "a\tb\x00c", ["a", " ", "b", " ", "c"]),
        ({}, "e\u0301", ["é"]),
        # The accent meets the letter only when what is between them is gone.
        ({"drop_spaces": True}, "e \u0301", ["é"]),
    ],
)
def test_characters(options, line, tokens):
    tokeniser = Tokeniser("character", **options)
    assert tokeniser.split(line) == tokens
    assert tokeniser.join(tokens) == "".join(tokens)


def all_tokenisers():
    for level in ("word", "whitespace", "character"):
        for normal_form in ("NFC", "NFKC", "none"):
            for lowercase in (False, True):
                for drop_punctuation in (False, True):
                    yield Tokeniser(level, normal_form, lowercase, drop_punctuation)
    yield Tokeniser("character", drop_spaces=True)
    yield Tokeniser("character", "NFKC", True, True, True)


@pytest.mark.parametrize("tokeniser", list(all_tokenisers()), ids=str)
def test_what_is_joined_is_split_the_same_way(tokeniser):
    for line in random_lines(0):
        tokens = tokeniser.split(line)
        assert tokeniser.split(tokeniser.join(tokens)) == tokens, ascii(line)


@pytest.mark.parametrize("level", ["word", "whitespace"])
@pytest.mark.parametrize("normal_form", ["NFC", "NFKC", "none"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_tokens_in_any_order_come_back(level, normal_form, lowercase):
    """What a generator writes is no sentence: every token may follow every other."""
    tokeniser = Tokeniser(level, normal_form, lowercase)
    known = sorted({token for line in random_lines(1) for token in tokeniser.split(line)})
    known += [token for token in known if len(token) == 1] * 10
    rng = np.random.default_rng(2)
    for _ in range(2000):
        tokens = [known[index] for index in rng.integers(0, len(known), 12)]
        assert tokeniser.split(tokeniser.join(tokens)) == tokens


def test_short_ways_agree_with_the_one_pattern_for_all_text():
    tokeniser = Tokeniser("word", "none")
    general = tokeniser_module._unicode_token()
    ascii_lines = [line.encode("ascii", "ignore").decode() for line in random_lines(3)]
    for line in random_lines(4) + ascii_lines:
        visible = tokeniser_module._CONTROL.sub(" ", line)
        assert tokeniser.split(line) == general.findall(visible), ascii(line)


def test_every_character_is_in_one_token_or_a_space():
    tokeniser = Tokeniser("word", "none")
    for line in random_lines(5):
        visible = tokeniser_module._CONTROL.sub(" ", line)
        assert "".join(tokeniser.split(line)) == "".join(visible.split())


def test_alphanumeric_characters_are_neither_marks_nor_spaces():
    """On this rests the short way by `str.isalnum`."""
    for point in range(sys.maxunicode + 1):
        character = chr(point)
        if character.isalnum():
            assert unicodedata.category(character)[0] not in "PSZC", hex(point)


def test_json():
    tokeniser = Tokeniser("character", "NFKC", True, True, True)
    assert tokeniser_from_json(tokeniser.to_json()) == tokeniser


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": "letter"}, "tokeniser.level='letter'"),
        ({"normal_form": 3}, "tokeniser.normal_form=3"),
        ({"lowercase": "yes"}, "tokeniser.lowercase='yes'"),
        ({"extra": 1}, "must have the fields level, normal_form"),
    ],
)
def test_damaged_json(change, message):
    with pytest.raises(DataError, match=message):
        tokeniser_from_json(Tokeniser().to_json() | change)


@pytest.mark.parametrize("values", [None, [], "word", {"level": "word"}])
def test_json_of_something_else(values):
    with pytest.raises(DataError, match="must have the fields"):
        tokeniser_from_json(values)


def test_an_unknown_level_is_refused():
    with pytest.raises(ConfigError, match="level='words': did you mean word"):
        Tokeniser("words")
