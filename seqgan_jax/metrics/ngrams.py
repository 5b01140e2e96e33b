"""n-grams as numbers: exact, without hashes, for a vocabulary of any size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqgan_jax.types import Samples, Sequences

NONE = -1  # the number of what is no n-gram, or of none that is known


def on_host(sequences: Samples | Sequences) -> Sequences:
    """As NumPy arrays: JAX's have no 64-bit integers unless told to, and would overflow unseen."""
    return Sequences(np.asarray(sequences.tokens), np.asarray(sequences.mask))


class NgramNumbers:
    """Numbers the n-grams of a set of sequences, of each order from 1, in the order of their ids.

    An n-gram's key is made of the number of its first n - 1 tokens and the number, not the id, of
    its last. Neither exceeds the number of tokens, so no product overflows, whatever the ids.

    Args of the constructor:
      sequences: tokens and mask `[B, T]`; negative ids are in no n-gram.
      max_order: the largest n, at least 1. It may exceed T.

    Attributes:
      max_order: the largest n.
      own: one array an order, the number of the n-gram that begins at each position, `NONE` where
        none does. `[B, max(T - n + 1, 0)]` int64.

    Raises:
      ValueError: `max_order` is below 1.
    """

    def __init__(self, sequences: Samples | Sequences, max_order: int) -> None:
        if max_order < 1:
            raise ValueError(f"max_order={max_order}: must be at least 1")
        sequences = on_host(sequences)
        self.max_order = max_order
        self._known: list[np.ndarray] = []  # of each order the different keys, ascending
        self.own: list[np.ndarray] = []
        for _ in range(max_order):
            known, numbers = _numbered(self._extended(sequences, self.own))
            self._known.append(known)
            self.own.append(numbers)

    def count(self, order: int) -> int:
        """How many different n-grams of an order there are."""
        return len(self._known[order - 1])

    def of(self, sequences: Samples | Sequences) -> list[np.ndarray]:
        """The numbers of other sequences' n-grams; `NONE` for those that are not known."""
        sequences = on_host(sequences)
        result: list[np.ndarray] = []
        for known in self._known:
            keys = self._extended(sequences, result)
            if not len(known):
                result.append(np.full(keys.shape, NONE, np.int64))
                continue
            # Behind the last key, the last is compared and differs.
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            result.append(np.where(known[place] == keys, place, NONE))
        return result

    def _extended(self, sequences: Sequences, numbers: list[np.ndarray]) -> np.ndarray:
        """Keys of the n-grams one longer than those numbered so far; `NONE` where there is none."""
        if not numbers:
            tokens = sequences.tokens.astype(np.int64)
            return np.where(sequences.mask & (tokens >= 0), tokens, NONE)
        last = numbers[0][:, len(numbers) :]
        first = numbers[-1][:, : last.shape[1]]
        inside = (first != NONE) & (last != NONE)
        return np.where(inside, first * len(self._known[0]) + last, NONE)


def _numbered(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different keys, ascending, and each key's place among them; `NONE` stays `NONE`."""
    is_key = keys != NONE
    asked = keys[is_key]
    bits = asked.size.bit_length()
    if int(asked.max(initial=0)) >> (63 - bits):
        known, places = np.unique(asked, return_inverse=True)
    else:
        # Sorting keys with their positions in the low bits takes a third of the time of an argsort.
        packed = np.sort((asked << bits) | np.arange(asked.size))
        ascending = packed >> bits
        is_new = np.diff(ascending, prepend=NONE) != 0
        known = ascending[is_new]
        places = np.empty(asked.size, np.int64)
        places[packed & ((1 << bits) - 1)] = np.cumsum(is_new) - 1
    numbers = np.full(keys.shape, NONE, np.int64)
    numbers[is_key] = places
    return known, numbers


class Counts(NamedTuple):
    """How often n-grams stand in sequences, a row for each pair where they do; `[K]` each."""

    number: np.ndarray
    row: np.ndarray
    times: np.ndarray


def counted(numbers: np.ndarray) -> Counts:
    """How often each n-gram stands in each sequence.

    Args:
      numbers: `[B, P]`, `NONE` counts as nothing.

    Returns:
      The pairs in the order of the numbers and, of one number, the rows.
    """
    rows = np.broadcast_to(np.arange(len(numbers))[:, None], numbers.shape)
    known = numbers != NONE
    pairs, counts = np.unique(numbers[known] * len(numbers) + rows[known], return_counts=True)
    number, row = np.divmod(pairs, max(len(numbers), 1))
    return Counts(number, row, counts)


def joined(one: Samples | Sequences, other: Samples | Sequences) -> Sequences:
    """Two sets of sequences as one, the shorter rows padded."""
    one, other = on_host(one), on_host(other)
    length = max(one.tokens.shape[1], other.tokens.shape[1])

    def widened(array: np.ndarray) -> np.ndarray:
        return np.pad(array, ((0, 0), (0, length - array.shape[1])))

    return Sequences(
        np.concatenate([widened(one.tokens), widened(other.tokens)]),
        np.concatenate([widened(one.mask), widened(other.mask)]),
    )
