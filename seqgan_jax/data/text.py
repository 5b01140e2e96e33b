"""Text files to encoded sequences, and ids back to text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqgan_jax.checked import DataError
from seqgan_jax.data.corpus import (
    Corpus,
    Kept,
    Numbering,
    held_out,
    padded,
    read_corpus,
    select,
)
from seqgan_jax.data.dataset import Codec, Dataset, Progress
from seqgan_jax.data.lines import read_blocks
from seqgan_jax.data.tokeniser import Tokeniser, tokeniser_from_json
from seqgan_jax.data.vocabulary import Vocabulary, build_vocabulary, vocabulary_from_json
from seqgan_jax.data_hparams import TextDataHParams
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
                    hint = f"the closest are {like}" if like else "and nothing like it"
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
    if type(tokens_per_line) is not int or tokens_per_line < 0:
        raise DataError(f"tokens_per_line={tokens_per_line!r}: must be a number of at least 0")
    return TextCodec(
        vocabulary_from_json(values.get("vocabulary")),
        tokeniser_from_json(values.get("tokeniser")),
        tokens_per_line,
    )


def load_text(settings: TextDataHParams, progress: Progress | None = None) -> Dataset:
    """Reads a text file of one sequence a line.

    The vocabulary is that of the training lines. Where min_length is max_length there is no end
    token and T is that length; elsewhere T is one more than the longest line.

    Args:
      settings: which file, and how to read it.
      progress: called with the share of bytes read.

    Returns:
      Training and test lines in the order of the file.

    Raises:
      DataError: a file cannot be used; names it, the line where there is one, and what would do.
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
    if settings.test_path and unknown[1] == 1.0:
        raise DataError(
            f"{settings.test_path}: the vocabulary of {settings.path} has none of its tokens; "
            "give a test file of the same kind"
        )
    if any(unknown):
        notes.append(
            f"The vocabulary has {len(vocabulary.words):,} of the {np.count_nonzero(counts):,} "
            f"different tokens of the training lines; {unknown[0]:.2%} of the tokens there and "
            f"{unknown[1]:.2%} of those of the test lines are unknown."
        )
    length = int(max(train.lengths.max(), test.lengths.max())) + has_end
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
    kept = Kept(settings.min_length, settings.max_length, settings.too_long == "cut")

    def shown(start: float) -> Progress | None:
        """Each of two files is half of the work."""
        if progress is None or not settings.test_path:
            return progress
        return lambda share: progress(start + 0.5 * share)

    corpus = read_corpus(settings.path, tokeniser, numbering, kept, shown(0.0))
    notes = _notes("training file" if settings.test_path else "file", corpus, kept)
    if settings.test_path:
        test = read_corpus(settings.test_path, tokeniser, numbering, kept, shown(0.5))
        return corpus, test, notes + _notes("test file", test, kept)
    number = len(corpus.lengths)
    if number < 2:
        raise DataError(
            f"{settings.path}: only one line can be used, so there is none to test with; "
            "give more lines, or data.test_path"
        )
    tested = held_out(number, settings.test_fraction, settings.seed)
    return select(corpus, ~tested), select(corpus, tested), notes


def _notes(name: str, corpus: Corpus, kept: Kept) -> list[str]:
    fate = "cut" if kept.cut else "dropped"
    number = len(corpus.lengths) + corpus.blank + corpus.short + (not kept.cut) * corpus.long
    notes = [
        (corpus.blank, "without a token: skipped."),
        (corpus.short, f"of fewer than min_length={kept.min_length} tokens: dropped."),
        (corpus.long, f"of more than max_length={kept.max_length} tokens: {fate}."),
    ]
    return [f"{some:,} of {number:,} lines of the {name} {note}" for some, note in notes if some]


def _encoded(corpus: Corpus, table: np.ndarray, length: int, vocabulary: Vocabulary) -> Sequences:
    """Rows of ids, each with its end token."""
    sequences = padded(table[corpus.ids], corpus.lengths, length, vocabulary.pad)
    if vocabulary.end is not None:
        rows = np.arange(len(corpus.lengths))
        sequences.tokens[rows, corpus.lengths] = vocabulary.end
        sequences.mask[rows, corpus.lengths] = True
    return sequences


def read_sequences(path: str, codec: Codec, length: int) -> tuple[Sequences, tuple[str, ...]]:
    """Reads sequences that anybody wrote, one a line, or as stanzas apart by blank lines.

    Lines that stand together are a stanza where each but the last has the codec's
    `tokens_per_line`, as `layout` writes them; a file of one such group alone counts as a stanza
    only where that fits into the length.

    Args:
      path: a UTF-8 text file.
      codec: encodes a line; what it lacks becomes its unknown token.
      length: T, an end token counted; longer sequences are cut.

    Returns:
      Tokens and mask `[B, T]`, the end token inside the mask, and what was skipped or cut.

    Raises:
      DataError: the file cannot be read or holds no sequence, or the codec refuses a token.
    """
    groups = _encoded_groups(path, codec)
    blank = sum(1 for group in groups if not group)
    number = blank + sum(map(len, groups))
    groups = [group for group in groups if group]
    if not groups:
        raise DataError(f"{path}: holds no sequence; give one a line")
    end = [] if codec.end_token is None else [codec.end_token]
    room = length - len(end)
    per_line = getattr(codec, "tokens_per_line", 0)
    found: list[list[int]] = []
    for group in groups:
        size = sum(map(len, group))
        full = all(len(line) == per_line for line in group[:-1]) and len(group[-1]) <= per_line
        if 0 < per_line < room and full and (len(groups) > 1 or size <= room):
            group = [[token for line in group for token in line]]
        found += group
    long = sum(1 for ids in found if len(ids) > room)
    short = sum(1 for ids in found if len(ids) < room) if codec.end_token is None else 0
    unknown = 0 if codec.unknown_token is None else sum(x.count(codec.unknown_token) for x in found)
    notes = [
        (blank, f"{blank:,} of {number:,} lines blank: skipped."),
        (long, f"{long:,} of {len(found):,} sequences longer than {room} tokens: cut."),
        (short, f"{short:,} of {len(found):,} sequences shorter than {room} tokens."),
        (unknown, f"{unknown:,} of {sum(map(len, found)):,} tokens unknown."),
    ]
    rows = [ids[:room] + end for ids in found]
    ids = np.array([token for row in rows for token in row], np.int32)
    sequences = padded(ids, np.array([len(row) for row in rows]), length, codec.pad_token)
    return sequences, tuple(note for number, note in notes if number)


def _encoded_groups(path: str, codec: Codec) -> list[list[list[int]]]:
    """Encoded lines that stand together; an empty group for every blank line between them."""
    groups: list[list[list[int]]] = []
    together = False
    for first, lines in read_blocks(path):
        for number, line in enumerate(lines, first):
            try:
                ids = codec.encode(line) if line else []
            except DataError as error:
                raise DataError(f"{path}:{number}: {error}") from None
            if not ids:
                groups.append([])
            elif together:
                groups[-1].append(ids)
            else:
                groups.append([ids])
            together = bool(ids)
    return groups
