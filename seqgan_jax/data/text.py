"""Text files to encoded sequences, and ids back to text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqgan_jax.checked import DataError, shown
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
from seqgan_jax.data.dataset import Dataset, Progress
from seqgan_jax.data.tokeniser import Tokeniser, tokeniser_from_json
from seqgan_jax.data.vocabulary import Vocabulary, build_vocabulary, vocabulary_from_json
from seqgan_jax.data_hparams import MAX_LENGTH, TextDataHParams
from seqgan_jax.types import Sequences

# By characters a special token is one character, too, so that lengths survive.
_SPECIAL_CHARACTER = "\ufffd"


class TextCodec:
    """A vocabulary and the tokeniser that its words come from.

    Args of the constructor:
      vocabulary: ids and words.
      tokeniser: lines to words and back.
      tokens_per_line: of `layout`; 0 for one line a sequence.
    """

    kind: str = "text"
    pad_is_token: bool = False

    def __init__(
        self, vocabulary: Vocabulary, tokeniser: Tokeniser, tokens_per_line: int = 0
    ) -> None:
        self.vocabulary, self.tokeniser = vocabulary, tokeniser
        self.tokens_per_line = tokens_per_line
        self.vocab_size = len(vocabulary)
        self.start_token = self.pad_token = vocabulary.pad
        self.end_token = vocabulary.end
        self.unknown_token: int | None = vocabulary.unknown
        specials = vocabulary.unknown + 1
        self._written = vocabulary.names
        if tokeniser.level == "character":
            self._written = (_SPECIAL_CHARACTER,) * specials + vocabulary.words

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """Ids of a line's tokens, without an end token.

        Raises:
          DataError: `strict`, and the vocabulary lacks a token; names it and what is like it.
        """
        ids, unknown = self.vocabulary.ids, self.vocabulary.unknown
        tokens = self.tokeniser.split(text)
        if strict:
            for token in tokens:
                if token not in ids:
                    like = ", ".join(map(repr, self.vocabulary.nearest(token)))
                    hint = f"the closest are {like}" if like else "nothing in it is like it"
                    raise DataError(f"the vocabulary lacks {token!r}; {hint}")
        return [ids.get(token, unknown) for token in tokens]

    def decode(self, ids: Sequence[int]) -> str:
        """One line; `encode` reads the same ids from it where all are words."""
        return self.tokeniser.join([self._written[token] for token in self._until_end(ids)])

    def layout(self, ids: Sequence[int]) -> str:
        """Lines of `tokens_per_line` tokens, the last perhaps of fewer."""
        kept = self._until_end(ids)
        step = self.tokens_per_line or max(len(kept), 1)
        lines = (kept[start : start + step] for start in range(0, len(kept), step))
        return "\n".join(map(self.decode, lines))

    def _until_end(self, ids: Sequence[int]) -> list[int]:
        kept = [int(token) for token in ids]
        return kept[: kept.index(self.end_token)] if self.end_token in kept else kept

    def to_json(self) -> dict[str, Any]:
        """Plain values for `text_codec_from_json`."""
        return {
            "kind": self.kind,
            "tokeniser": self.tokeniser.to_json(),
            "tokens_per_line": self.tokens_per_line,
            "vocabulary": self.vocabulary.to_json(),
        }


def text_codec_from_json(values: dict[str, Any]) -> TextCodec:
    """Rebuilds a codec.

    Raises:
      DataError: a field is missing, of the wrong type or without meaning.
    """
    tokens_per_line = values.get("tokens_per_line")
    if type(tokens_per_line) is not int or not 0 <= tokens_per_line <= MAX_LENGTH:
        raise DataError(
            f"tokens_per_line={shown(tokens_per_line)}: must be a number in 0..{MAX_LENGTH}"
        )
    return TextCodec(
        vocabulary_from_json(values.get("vocabulary")),
        tokeniser_from_json(values.get("tokeniser")),
        tokens_per_line,
    )


def load_text(settings: TextDataHParams, progress: Progress | None = None) -> Dataset:
    """Reads a text file of one sequence a line.

    The vocabulary is that of the training lines. Where min_length is max_length there is no end
    token and T is that length; elsewhere T is one more than the longest line of at most max_length
    tokens. With `too_long="cut"` a longer line has its first T tokens and no end token, as it does
    not end there: its mask is True to the last position, T = max_length + 1.

    Args:
      settings: which file, and how to read it.
      progress: called with the share of bytes read.

    Returns:
      Training and test lines in the order of the file.

    Raises:
      DataError: a file cannot be used, or gives fewer than 2 sequences to train on; names it, the
        line where there is one, and what would do.
    """
    tokeniser = Tokeniser(
        settings.level,
        settings.normal_form,
        settings.lowercase,
        settings.drop_punctuation,
        settings.drop_spaces,
    )
    numbering = Numbering()
    train, test, notes = _read_both(settings, tokeniser, numbering, progress)
    has_end = settings.min_length < settings.max_length
    counts = np.bincount(train.ids, minlength=len(numbering))
    vocabulary = build_vocabulary(
        dict(zip(numbering, counts.tolist(), strict=True)),
        max_size=settings.max_size,
        min_count=settings.min_count,
        has_end=has_end,
    )
    if len(vocabulary.words) < 2:
        raise DataError(
            f"{settings.path}: a vocabulary needs 2 different tokens or more, each at least "
            f"data.min_count={settings.min_count} times; the training lines have "
            f"{len(vocabulary.words)}"
        )
    table = np.array([vocabulary.ids.get(word, vocabulary.unknown) for word in numbering], np.int32)
    unknown = [float((table[part.ids] == vocabulary.unknown).mean()) for part in (train, test)]
    if unknown[1] == 1.0:
        raise _all_unknown(settings)
    if any(unknown):
        notes.append(
            f"The vocabulary has {len(vocabulary.words):,} of the {np.count_nonzero(counts):,} "
            f"different tokens of the training lines; {unknown[0]:.2%} of the tokens there and "
            f"{unknown[1]:.2%} of those of the test lines are unknown."
        )
    longest = int(max(train.lengths.max(), test.lengths.max()))
    length = min(longest, settings.max_length) + has_end
    train_sequences, test_sequences = (
        _encoded(part, table, length, vocabulary) for part in (train, test)
    )
    codec = TextCodec(vocabulary, tokeniser, settings.tokens_per_line)
    return Dataset(train_sequences, test_sequences, codec, tuple(notes))


def _read_both(
    settings: TextDataHParams,
    tokeniser: Tokeniser,
    numbering: Numbering,
    progress: Progress | None,
) -> tuple[Corpus, Corpus, list[str]]:
    """Training and test lines, and what to note."""
    if not settings.path:
        raise DataError("no text is given; say --config.data.path=FILE")
    has_end = settings.min_length < settings.max_length
    kept = Kept(settings.min_length, settings.max_length, settings.too_long == "cut", has_end)

    def shown(start: float) -> Progress | None:
        """Each of two files is half of the work."""
        if progress is None or not settings.test_path:
            return progress
        return lambda share: progress(start + 0.5 * share)

    corpus = read_corpus(settings.path, tokeniser, numbering, kept, shown(0.0))
    notes = _notes("training file" if settings.test_path else "file", corpus, kept)
    if settings.test_path:
        test = read_corpus(settings.test_path, tokeniser, numbering, kept, shown(0.5))
        if len(corpus.lengths) < 2:
            raise DataError(
                f"{settings.path}: only one line can be used; must be 2 or more, to train on"
            )
        notes += _notes("test file", test, kept)
        known = np.isin(kinds(test), kinds(corpus)).sum()
        if known:
            notes.append(
                f"{known:,} of {len(test.lengths):,} test lines stand in the training file, too."
            )
        return corpus, test, notes
    number = len(corpus.lengths)
    if number < 2:
        raise DataError(
            f"{settings.path}: only one line can be used, so there is none to test with; "
            "give more lines, or data.test_path"
        )
    of_kind = kinds(corpus)
    different = len(np.unique(of_kind))
    if different < 2:
        raise DataError(
            f"{settings.path}: all {number:,} lines that can be used are the same, so there is "
            "none to test with; give other lines, or data.test_path"
        )
    if different < number:
        notes.append(
            f"{number - different:,} of {number:,} lines repeat another: put on its side of the "
            "split."
        )
    tested = held_out(of_kind, settings.test_fraction, settings.seed)
    if number - tested.sum() < 2:
        fewer = f"lower data.test_fraction={settings.test_fraction}, " if tested.sum() > 1 else ""
        raise DataError(
            f"{settings.path}: {number:,} lines can be used, and with {tested.sum():,} to test on "
            f"only one is left to train on; must be 2 or more: {fewer}give more lines, or "
            "data.test_path"
        )
    return select(corpus, ~tested), select(corpus, tested), notes


def _all_unknown(settings: TextDataHParams) -> DataError:
    if settings.test_path:
        return DataError(
            f"{settings.test_path}: the vocabulary of {settings.path} has none of its tokens; "
            "give a test file of the same kind"
        )
    return DataError(
        f"{settings.path}: the vocabulary of the training lines has none of the tokens of those "
        f"held out; lower data.min_count={settings.min_count}, raise "
        f"data.max_size={settings.max_size}, or give more lines"
    )


def _notes(name: str, corpus: Corpus, kept: Kept) -> list[str]:
    fate = ("cut, without an end token" if kept.spare else "cut") if kept.cut else "dropped"
    number = len(corpus.lengths) + corpus.blank + corpus.short + (not kept.cut) * corpus.long
    notes = [
        (corpus.blank, "without a token: skipped."),
        (corpus.short, f"of fewer than min_length={kept.min_length} tokens: dropped."),
        (corpus.long, f"of more than max_length={kept.max_length} tokens: {fate}."),
    ]
    return [f"{some:,} of {number:,} lines of the {name} {note}" for some, note in notes if some]


def _encoded(corpus: Corpus, table: np.ndarray, length: int, vocabulary: Vocabulary) -> Sequences:
    """Rows of ids, each with its end token but those that are cut: they fill the row."""
    sequences = padded(table[corpus.ids], corpus.lengths, length, vocabulary.pad)
    if vocabulary.end is not None:
        rows = np.flatnonzero(corpus.lengths < length)
        ends = corpus.lengths[rows]
        sequences.tokens[rows, ends] = vocabulary.end
        sequences.mask[rows, ends] = True
    return sequences
