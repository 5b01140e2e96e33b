"""Words and their ids; the special tokens are told by position, never by how they are written."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from typing import Any

from seqgan_jax.checked import DataError, shown
from seqgan_jax.data.tokeniser import END_NAME, PAD_NAME, UNKNOWN_NAME

_COMPARED = 5000  # words, the most frequent, that a misspelt one is compared with


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Ids in this order: padding and start, the end if there is one, unknown, then the words.

    A word of the text that reads `<eos>` is a word like any other, with an id of its own.

    Attributes:
      words: the ordinary tokens, all different; the first has the lowest id.
      has_end: whether sequences end by a token; False where all have one length.
    """

    words: tuple[str, ...]
    has_end: bool = True

    @property
    def pad(self) -> int:
        """The id of padding and of the start."""
        return 0

    @property
    def end(self) -> int | None:
        """The id of the end token, or None."""
        return 1 if self.has_end else None

    @property
    def unknown(self) -> int:
        """The id that stands for all other words."""
        return 2 if self.has_end else 1

    def __len__(self) -> int:
        """V, special tokens included."""
        return self.unknown + 1 + len(self.words)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Id -> how it is written. Length V."""
        end = (END_NAME,) if self.has_end else ()
        return (PAD_NAME, *end, UNKNOWN_NAME, *self.words)

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """Word -> id; without the special tokens."""
        return {word: number for number, word in enumerate(self.words, self.unknown + 1)}

    def nearest(self, word: str, number: int = 3) -> list[str]:
        """Words spelt almost like one, among the 5,000 most frequent; perhaps none.

        First those that differ in capitals alone.
        """
        words, plain = self.words[:_COMPARED], word.casefold()
        same = [each for each in words if each.casefold() == plain]
        close = difflib.get_close_matches(plain, words, n=number, cutoff=0.6)
        return list(dict.fromkeys(same + close))[:number]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `vocabulary_from_json`."""
        return {"words": list(self.words), "has_end": self.has_end}


def build_vocabulary(
    counts: Mapping[str, int], *, max_size: int, min_count: int = 1, has_end: bool = True
) -> Vocabulary:
    """The most frequent words, by falling count, those of one count in the order of their letters.

    Args:
      counts: word -> how often it occurs; words that never occur are left out.
      max_size: V at most, special tokens included.
      min_count: leave out words that occur less often.
      has_end: whether sequences end by a token.

    Returns:
      The vocabulary; it may be empty but for the special tokens.
    """
    frequent = [word for word, count in counts.items() if count >= max(min_count, 1)]
    frequent.sort()
    frequent.sort(key=counts.__getitem__, reverse=True)  # leaves those of one count as they are
    return Vocabulary(tuple(frequent[: max_size - len(Vocabulary((), has_end))]), has_end)


def vocabulary_from_json(values: Any) -> Vocabulary:
    """Rebuilds a vocabulary.

    Raises:
      DataError: a field is missing or of the wrong type, a word is empty or stands there twice.
    """
    if not isinstance(values, dict) or not isinstance(values.get("words"), list):
        raise DataError("vocabulary: must have the field words, a list")
    words, has_end = values["words"], values.get("has_end")
    if not isinstance(has_end, bool):
        raise DataError(f"vocabulary: has_end={shown(has_end)} must be true or false")
    seen: set[str] = set()
    for number, word in enumerate(words):
        if not isinstance(word, str) or not word:
            raise DataError(
                f"vocabulary: words[{number}]={shown(word)} must be a string, not empty"
            )
        if word in seen:
            raise DataError(f"vocabulary: words[{number}]={shown(word)} stands there twice")
        seen.add(word)
    return Vocabulary(tuple(words), has_end)
