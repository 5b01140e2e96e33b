"""Diversity and memory: how many samples differ, and how much of them stands in the training data.

NumPy on token ids; usable without the trainer.
"""

from __future__ import annotations

import numpy as np

from seqgan_jax.metrics.ngrams import NONE, NgramNumbers, on_host
from seqgan_jax.types import Array, Samples, Sequences


def distinct_fraction(tokens: np.ndarray | Array) -> float:
    """Share of different sequences among `[B, T]`; behind its end a sequence is all padding."""
    return len(np.unique(np.asarray(tokens), axis=0)) / len(tokens)


class CopiedFraction:
    """Share of n-grams that stand in the training data, n-grams of the training data kept hashed.

    Args of the constructor:
      tokens: training sequences `[B, T]`.
      mask: `[B, T]` bool.
      order: n; by default 8, or half of T where that is less.
    """

    def __init__(
        self, tokens: np.ndarray | Array, mask: np.ndarray | Array, order: int | None = None
    ) -> None:
        self.order = max(1, min(8, tokens.shape[1] // 2)) if order is None else order
        if self.order < 1:
            raise ValueError(f"order={order}: must be at least 1")
        self._known = np.unique(self._hashes(tokens, mask))

    def __call__(self, tokens: np.ndarray | Array, mask: np.ndarray | Array) -> float:
        """Share of the n-grams of `[B, T]` that stand in the training data; 0 if there are none."""
        hashes = self._hashes(tokens, mask)
        return float(np.isin(hashes, self._known).mean()) if hashes.size else 0.0

    def _hashes(self, tokens: np.ndarray | Array, mask: np.ndarray | Array) -> np.ndarray:
        """64-bit hashes of all n-grams that lie inside the mask.

        A polynomial in an odd multiplier, then mixed: two n-grams of 10^5 each collide with a
        chance of about 10^-9.
        """
        tokens, mask = np.asarray(tokens), np.asarray(mask)
        positions = tokens.shape[1] - self.order + 1
        if positions < 1:
            return np.zeros(0, np.uint64)
        multiplier = np.uint64(0x9E3779B97F4A7C15)
        hashes = np.zeros((len(tokens), positions), np.uint64)
        for offset in range(self.order):
            token = tokens[:, offset : offset + positions].astype(np.uint64) + np.uint64(1)
            hashes = (hashes ^ token) * multiplier
            hashes ^= hashes >> np.uint64(29)
        inside = mask[:, self.order - 1 :]
        return hashes[inside]


def distinct_n(samples: Samples | Sequences, order: int) -> float:
    """Different n-grams as a share of all (arXiv 1510.03055). It falls with the number of samples.

    Args:
      samples: tokens and mask `[B, T]`; an id below 0 is in no n-gram.
      order: n.

    Returns:
      Between 0 and 1; NaN where there is no n-gram.
    """
    numbers = NgramNumbers(samples, order)
    total = int((numbers.own[order - 1] != NONE).sum())
    return numbers.count(order) / total if total else float("nan")


def unique_ngrams(samples: Samples | Sequences, order: int) -> int:
    """How many different n-grams there are. Arguments as of `distinct_n`."""
    return NgramNumbers(samples, order).count(order)


def duplicate_rate(samples: Samples | Sequences) -> float:
    """Share of sequences that repeat an earlier one.

    Args:
      samples: tokens and mask `[B, T]`; only real tokens count, ids below 0 as any other.

    Returns:
      Between 0 and 1; NaN where there is no sequence.
    """
    whole = _whole(samples)
    return 1.0 - len(set(whole)) / len(whole) if whole else float("nan")


def copied_sequences(samples: Samples | Sequences, train: Samples | Sequences) -> float:
    """Share of sequences that stand whole in the training data.

    Args:
      samples: tokens and mask `[B, T]`; only real tokens count, ids below 0 as any other.
      train: the same of the training data, `[R, T']`.

    Returns:
      Between 0 and 1; NaN where there is no sample.
    """
    known, whole = set(_whole(train)), _whole(samples)
    return sum(each in known for each in whole) / len(whole) if whole else float("nan")


def _whole(sequences: Samples | Sequences) -> list[bytes]:
    """Real tokens of each row, comparable across sets of different T."""
    tokens, mask = on_host(sequences)
    rows = zip(tokens.astype(np.int64), mask, strict=True)
    return [row[real].tobytes() for row, real in rows]
