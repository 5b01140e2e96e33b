"""n-grams as numbers: exact, without hashes, for a vocabulary of any size."""

from __future__ import annotations

import numpy as np

from seqgan_jax.types import Sequences

NONE = -1  # the number of what is no n-gram, or of none that is known


class NgramNumbers:
    """Numbers the n-grams of a set of sequences, of each order from 1, in the order of their ids.

    An n-gram's number follows from that of its first n - 1 tokens and its last token, so that no
    product overflows: there are never more n-grams than tokens.

    Args of the constructor:
      sequences: tokens and mask `[B, T]`; negative ids are in no n-gram.
      max_order: the largest n, at least 1.

    Attributes:
      max_order: the largest n.
      own: one array an order, the number of the n-gram that begins at each position, `NONE` where
        none does. `[B, T - n + 1]` int64.
    """

    def __init__(self, sequences: Sequences, max_order: int) -> None:
        if max_order < 1:
            raise ValueError(f"max_order={max_order}: must be at least 1")
        self.max_order = max_order
        self._base = int(sequences.tokens.max(initial=0)) + 1
        self._keys: list[np.ndarray] = []
        self.own: list[np.ndarray] = []
        numbers = np.zeros(sequences.tokens.shape, np.int64)
        for order in range(1, max_order + 1):
            keys = self._extended(sequences, numbers, order)
            known, found = np.unique(keys[keys != NONE], return_inverse=True)
            numbers = np.full(keys.shape, NONE, np.int64)
            numbers[keys != NONE] = found
            self._keys.append(known)
            self.own.append(numbers)

    def count(self, order: int) -> int:
        """How many different n-grams of an order there are."""
        return len(self._keys[order - 1])

    def of(self, sequences: Sequences) -> list[np.ndarray]:
        """The numbers of other sequences' n-grams; `NONE` for those that are not known."""
        result = []
        numbers = np.zeros(sequences.tokens.shape, np.int64)
        for order, known in enumerate(self._keys, 1):
            keys = self._extended(sequences, numbers, order)
            place = np.minimum(np.searchsorted(known, keys), max(len(known) - 1, 0))
            is_known = (known[place] == keys) if len(known) else np.zeros(keys.shape, bool)
            numbers = np.where(is_known & (keys != NONE), place, NONE)
            result.append(numbers)
        return result

    def _extended(self, sequences: Sequences, numbers: np.ndarray, order: int) -> np.ndarray:
        """Keys of n-grams from the numbers of their first n - 1 tokens, `[B, T - n + 1]`."""
        tokens = sequences.tokens[:, order - 1 :].astype(np.int64)
        first = numbers[:, : tokens.shape[1]]
        inside = sequences.mask[:, order - 1 :] & (tokens >= 0) & (tokens < self._base)
        return np.where(inside & (first != NONE), first * self._base + tokens, NONE)


def counted(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each n-gram stands in each sequence.

    Args:
      numbers: `[B, P]`, `NONE` counts as nothing.

    Returns:
      Number, row and count of each pair of an n-gram and a sequence that holds it, in the order of
      the numbers and, of one number, the rows; `[K]` each.
    """
    rows = np.broadcast_to(np.arange(len(numbers))[:, None], numbers.shape)
    known = numbers != NONE
    pairs, counts = np.unique(numbers[known] * len(numbers) + rows[known], return_counts=True)
    number, row = np.divmod(pairs, max(len(numbers), 1))
    return number, row, counts


def joined(one: Sequences, other: Sequences) -> Sequences:
    """Two sets of sequences as one, the shorter rows padded."""
    length = max(one.tokens.shape[1], other.tokens.shape[1])

    def widened(array: np.ndarray) -> np.ndarray:
        return np.pad(array, ((0, 0), (0, length - array.shape[1])))

    return Sequences(
        np.concatenate([widened(one.tokens), widened(other.tokens)]),
        np.concatenate([widened(one.mask), widened(other.mask)]),
    )
