"""A line of text to its tokens and back, by words, by whitespace or by characters."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from seqgan_jax.checked import Checked, ConfigError, DataError, field, from_mapping

# How a vocabulary's special tokens are written; by words each stays one token.
PAD_NAME, END_NAME, UNKNOWN_NAME = "<pad>", "<eos>", "<unk>"

_MAX_NORMALISED = 2_000_000  # characters: NFKC makes eighteen of some
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# A special name; or a word, apostrophes only inside; or a mark of punctuation or a symbol.
_TOKEN = "<(?:pad|eos|unk)>|{word}+(?:['\u2019]{word}+)*|{other}"
_ASCII_TOKEN = re.compile(_TOKEN.format(word="[A-Za-z0-9_]", other=r"[^\sA-Za-z0-9_]"))
# Closing marks that Unicode's categories Pe and Pf do not tell from others.
_CLOSING = frozenset(
    ".,;:!?%\u2026\u060c\u061b\u061f\u0964\u0965\u3001\u3002\uff01\uff0c\uff0e\uff1a\uff1b\uff1f"
)


def _ranges(points: list[int]) -> str:
    """Ascending code points as the inside of a regular expression's brackets."""
    runs = itertools.groupby(enumerate(points), lambda item: item[1] - item[0])
    ends = ([point for _, point in run] for _, run in runs)
    return "".join(f"\\U{run[0]:08x}-\\U{run[-1]:08x}" for run in ends)


@functools.cache
def _unicode_token() -> re.Pattern[str]:
    """The pattern for any text; made once, in a fraction of a second, where a line asks for it.

    A word is made of all but whitespace, punctuation (P) and symbols (S); so it holds the marks
    (M) and joiners (Cf) that many scripts are written with. Those behind a symbol stay with it.
    """
    word, other, attached = [], [], []
    for point in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(point))
        if category[0] in "PS" and chr(point) != "_":
            other.append(point)
        elif not chr(point).isspace():
            word.append(point)
        if category[0] == "M" or category == "Cf":
            attached.append(point)
    symbol = f"[{_ranges(other)}][{_ranges(attached)}]*"
    return re.compile(_TOKEN.format(word=f"[{_ranges(word)}]", other=symbol))


def _words(line: str) -> list[str]:
    """Words and marks of a line."""
    tokens: list[str] = []
    for chunk in line.split():
        if chunk.isalnum():  # most are: a pattern would find one word, and take longer
            tokens.append(chunk)
        else:
            tokens += (_ASCII_TOKEN if chunk.isascii() else _unicode_token()).findall(chunk)
    return tokens


@functools.lru_cache(maxsize=4096)
def _is_punctuation(token: str) -> bool:
    return all(unicodedata.category(character)[0] == "P" for character in token)


@functools.lru_cache(maxsize=4096)
def _closes(token: str) -> bool:
    return len(token) == 1 and (token in _CLOSING or unicodedata.category(token) in ("Pe", "Pf"))


@functools.lru_cache(maxsize=4096)
def _opens(token: str) -> bool:
    return len(token) == 1 and unicodedata.category(token) in ("Ps", "Pi")


@dataclasses.dataclass(frozen=True)
class Tokeniser(Checked):
    """How lines become tokens.

    For every line `split(join(split(line))) == split(line)`. By words and by whitespace any
    sequence of such tokens comes back from `join`; by characters it does unless the normal form
    would compose two of them (a letter and the bare accent behind it).

    Attributes:
      level: "word" (words and punctuation marks apart; an apostrophe inside a word belongs to it),
        "whitespace" (tokens as they stand), "character" (each one, spaces too).
      normal_form: Unicode's, "NFC" or "NFKC", or "none" to leave the text as it is.
      lowercase: by `str.lower`, which keeps words as people write them; case folding would turn
        the German sharp s to ss.
      drop_punctuation: leave out tokens made of punctuation (Unicode's P) alone.
      drop_spaces: leave out whitespace by characters.
    """

    level: str = field("word", choices=("word", "whitespace", "character"))
    normal_form: str = field("NFC", choices=("NFC", "NFKC", "none"))
    lowercase: bool = False
    drop_punctuation: bool = False
    drop_spaces: bool = False

    def split(self, line: str) -> list[str]:
        """Tokens of a line; control characters count as spaces.

        Raises:
          DataError: its normal form has more than 2,000,000 characters.
        """
        if not line.isprintable():
            line = _CONTROL.sub(" ", line)
        line = self._normalised(line)
        if self.lowercase:
            line = self._normalised(line.lower())
        if self.level == "character":
            return self._characters(line)
        tokens = line.split() if self.level == "whitespace" else _words(line)
        if self.drop_punctuation:
            tokens = [token for token in tokens if token.isalnum() or not _is_punctuation(token)]
        return tokens

    def join(self, tokens: Sequence[str]) -> str:
        """One line; by words without a space before closing marks and behind opening ones."""
        if self.level == "character":
            return "".join(tokens)
        if self.level == "whitespace":
            return " ".join(tokens)
        parts = list(tokens[:1])
        for before, token in itertools.pairwise(tokens):
            # A closing quote is an apostrophe, too: the space behind it keeps the words apart.
            glued = _closes(token) or (_opens(before) and token[0].isalnum())
            parts.append(token if glued else f" {token}")
        return "".join(parts)

    def _normalised(self, text: str) -> str:
        if text.isascii() or self.normal_form == "none":
            return text
        text = unicodedata.normalize("NFC" if self.normal_form == "NFC" else "NFKC", text)
        if len(text) > _MAX_NORMALISED:
            raise DataError(
                f"more than {_MAX_NORMALISED:,} characters in the normal form {self.normal_form}; "
                "give shorter lines, or data.normal_form=none"
            )
        return text

    def _characters(self, line: str) -> list[str]:
        if self.drop_spaces:
            line = "".join(line.split())
        if self.drop_punctuation:
            line = "".join(character for character in line if not _is_punctuation(character))
        # What is dropped may have stood between a letter and its accent.
        return list(self._normalised(line))

    def to_json(self) -> dict[str, Any]:
        """Plain values for `tokeniser_from_json`."""
        return dataclasses.asdict(self)


def tokeniser_from_json(values: Any) -> Tokeniser:
    """Rebuilds a tokeniser.

    Raises:
      DataError: a field is missing, unknown or has no meaning.
    """
    names = [entry.name for entry in dataclasses.fields(Tokeniser)]
    if not isinstance(values, dict) or sorted(values) != sorted(names):
        raise DataError(f"tokeniser: must have the fields {', '.join(names)}")
    try:
        return from_mapping(Tokeniser, values, "tokeniser")
    except ConfigError as error:
        raise DataError(str(error)) from None
