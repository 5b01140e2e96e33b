"""Lines of a text file to flat arrays of token numbers, in one pass and little memory."""

from __future__ import annotations

import sys
from array import array
from typing import NamedTuple

import numpy as np

from seqgan_jax.checked import DataError
from seqgan_jax.data.dataset import Progress
from seqgan_jax.data.lines import read_blocks
from seqgan_jax.data.tokeniser import Tokeniser
from seqgan_jax.types import Sequences

# Rows are as long as the longest sequence: one long line among many short ones would fill memory.
_MAX_POSITIONS = 50_000_000
_MAX_PADDING = 32  # positions a token, of more positions than that
# Different tokens of a text are all counted before the most frequent are taken, at some 200 bytes
# of memory each and up to 4 a character.
_MAX_TYPES, _MAX_CHARACTERS = 3_000_000, 50_000_000


class Numbering(dict[str, int]):
    """Token -> number, in the order of their first coming; asking for a new one numbers it.

    Of at most 3,000,000 tokens, of 50,000,000 characters together.
    """

    characters: int = 0  # of all tokens

    def __missing__(self, token: str) -> int:
        """The next free number, which the token has from now on.

        Raises:
          DataError: there are too many already.
        """
        self[token] = number = len(self)
        self.characters += len(token)
        if number >= _MAX_TYPES or self.characters > _MAX_CHARACTERS:
            raise DataError(
                f"over {_MAX_TYPES:,} different tokens, or over {_MAX_CHARACTERS:,} characters in "
                "them, up to this line; give fewer lines, data.lowercase=True, or "
                "data.level=character"
            )
        return number


class Kept(NamedTuple):
    """Which lines are used.

    Attributes:
      min_length: tokens; lines of fewer are dropped.
      max_length: tokens; lines of more are dropped, or cut to the first so many.
      cut: whether they are cut.
      spare: tokens, 0 or 1, that a line that is cut keeps beyond max_length.
    """

    min_length: int
    max_length: int
    cut: bool
    spare: int = 0


class Corpus(NamedTuple):
    """The lines of a file that are used, laid end to end, and how many are not.

    Attributes:
      ids: numbers of all tokens. Shape `[sum of lengths]`, int32.
      lengths: tokens a line. Shape `[lines kept]`, int64.
      blank: lines without a token.
      short: lines dropped as too short.
      long: lines dropped, or cut, as too long.
      shortest: tokens of the shortest line that has any; 0 where none has.
      longest: tokens of the longest line.
      longest_short: of the longest of those too short; 0 where none is.
      shortest_long: of the shortest of those too long; 0 where none is.
    """

    ids: np.ndarray
    lengths: np.ndarray
    blank: int = 0
    short: int = 0
    long: int = 0
    shortest: int = 0
    longest: int = 0
    longest_short: int = 0
    shortest_long: int = 0


def read_corpus(
    path: str,
    tokeniser: Tokeniser,
    numbering: Numbering,
    kept: Kept,
    progress: Progress | None = None,
) -> Corpus:
    """Reads a file of one sequence a line.

    Args:
      path: the file.
      tokeniser: lines to tokens.
      numbering: gives the tokens of lines that are kept their numbers; grows.
      kept: which lines are used.
      progress: called with the share of bytes read.

    Returns:
      The lines that are kept, in the order of the file.

    Raises:
      DataError: see `read_blocks`, `Tokeniser.split`, `Numbering`; or no line is kept, and why.
    """
    split, number_of = tokeniser.split, numbering.__getitem__
    ids, lengths = array("i"), array("q")
    blank = short = long = longest = longest_short = 0
    shortest = shortest_long = sys.maxsize
    for first, lines in read_blocks(path, progress):
        for place, line in enumerate(lines, first):
            try:
                tokens = split(line)
                length = len(tokens)
                if not length:
                    blank += 1
                    continue
                if length < shortest:
                    shortest = length
                longest = max(longest, length)
                if length < kept.min_length:
                    short += 1
                    longest_short = max(longest_short, length)
                    continue
                if length > kept.max_length:
                    long += 1
                    shortest_long = min(shortest_long, length)
                    if not kept.cut:
                        continue
                    length = kept.max_length + kept.spare
                    del tokens[length:]
                ids.extend(map(number_of, tokens))
                lengths.append(length)
            except DataError as error:
                raise DataError(f"{path}:{place}: {error}") from None
    corpus = Corpus(
        np.frombuffer(ids, np.int32) if ids else np.zeros(0, np.int32),
        np.frombuffer(lengths, np.int64) if lengths else np.zeros(0, np.int64),
        *(blank, short, long, shortest if longest else 0, longest),
        *(longest_short, shortest_long if long else 0),
    )
    _check_some(path, corpus, kept)
    return corpus


def _check_some(path: str, corpus: Corpus, kept: Kept) -> None:
    if len(corpus.lengths):
        return
    if not corpus.longest:
        raise DataError(f"{path}: holds no line with a token; give one sequence a line")
    advice = []
    if corpus.short:
        advice.append(f"{corpus.short:,} too short (data.min_length={kept.min_length})")
    if corpus.long:
        advice.append(f"{corpus.long:,} too long (data.max_length={kept.max_length})")
    remedy = [f"data.min_length to {corpus.longest_short} or less"] if corpus.short else []
    if corpus.long:
        remedy.append(
            f"data.max_length to {corpus.shortest_long} or more, or data.too_long to 'cut'"
        )
    raise DataError(
        f"{path}: no line can be used: {' and '.join(advice)}; they have {corpus.shortest} to "
        f"{corpus.longest} tokens; set {', or '.join(remedy)}"
    )


def select(corpus: Corpus, chosen: np.ndarray) -> Corpus:
    """The lines for which `chosen`, shape `[lines]` bool, holds; the counts go with none."""
    return Corpus(corpus.ids[np.repeat(chosen, corpus.lengths)], corpus.lengths[chosen])


def kinds(corpus: Corpus) -> np.ndarray:
    """A number a line, `[lines]` int64; the same for lines of the same tokens, and in any corpus.

    The numbers are hashes, others in every process.
    """
    ends = np.cumsum(corpus.lengths)
    ids, size = corpus.ids.tobytes(), corpus.ids.itemsize
    spans = zip((ends - corpus.lengths).tolist(), ends.tolist(), strict=True)
    hashes = (hash(ids[size * start : size * end]) for start, end in spans)
    return np.fromiter(hashes, np.int64, len(ends))


def held_out(of_kind: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Draws which sequences are for testing: at least one, and never all.

    Sequences of one kind stay together, so that none is tested that has been learnt from. Each kind
    is as likely to be drawn as another, so that repetition is as frequent among the held-out ones
    as elsewhere; those too large for what is left to hold out are passed over.

    Args:
      of_kind: shape `[number]`, integers; at least two different ones.
      fraction: share that is held out, rounded to whole sequences.
      seed: of the draw.

    Returns:
      Shape `[number]`, bool.
    """
    number = len(of_kind)
    _, first, place, size = np.unique(
        of_kind, return_index=True, return_inverse=True, return_counts=True
    )
    left = min(max(round(fraction * number), 1), number - 1)
    chosen = np.zeros(len(size), bool)
    rows = np.random.default_rng(seed).permutation(number)
    # Kinds in the order in which their first sequences are drawn, whatever numbers they have.
    for kind in place[rows[first[place[rows]] == rows]].tolist():
        if not left:
            break
        if size[kind] <= left:
            chosen[kind] = True
            left -= int(size[kind])
    if not chosen.any():
        chosen[np.lexsort((first, size))[0]] = True  # of the smallest, the first
    return chosen[place]


def padded(ids: np.ndarray, lengths: np.ndarray, length: int, pad: int) -> Sequences:
    """Sequences laid end to end, each in a row of its own.

    Args:
      ids: shape `[sum of lengths]`, integers.
      lengths: shape `[B]`, none above T.
      length: T.
      pad: fills the rest of a row.

    Returns:
      Tokens `[B, T]` int32 and mask `[B, T]` bool.

    Raises:
      DataError: nearly all of fifty million positions or more would be padding.
    """
    positions = len(lengths) * length
    if positions > max(_MAX_POSITIONS, _MAX_PADDING * len(ids)):
        raise DataError(
            f"{len(lengths):,} sequences of length {length:,} make {positions:,} positions for "
            f"{len(ids):,} tokens; give a smaller data.max_length"
        )
    mask = np.arange(length) < lengths[:, None]
    tokens = np.full(mask.shape, pad, np.int32)
    tokens[mask] = ids
    return Sequences(tokens, mask)
