"""BLEU and self-BLEU of each sentence, with the references counted once.

Equal to NLTK's `sentence_bleu` with smoothing method 1 (Chen and Cherry 2014, epsilon 0.1):
modified n-gram precisions, where one that is 0 becomes 0.1 / its denominator; their geometric mean;
the brevity penalty against the closest reference length (Papineni et al. 2002). Without a common
word the score is 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqgan_jax.metrics.ngrams import Counts, NgramNumbers, counted, on_host
from seqgan_jax.types import Samples, Sequences

_EPSILON = 0.1


class _Most(NamedTuple):
    """Of each n-gram the two largest counts in one sequence, and who has the largest."""

    first: np.ndarray  # [number of n-grams]
    second: np.ndarray  # equal to the first in a tie, 0 where one sequence alone holds the n-gram
    owner: np.ndarray  # row of the largest; of several, the first


class BleuReferences:
    """A set of references for BLEU of any hypotheses.

    Args of the constructor:
      references: tokens and mask `[R, T]`, real tokens first in each row. A negative id matches
        nothing, not even itself.
      max_order: the largest n-gram order.

    Raises:
      ValueError: no references, or `max_order` is below 1.
    """

    def __init__(self, references: Samples | Sequences, max_order: int) -> None:
        references = on_host(references)
        if not len(references.tokens):
            raise ValueError("no references: BLEU needs at least one")
        self._numbers = NgramNumbers(references, max_order)
        self._counts = [counted(numbers) for numbers in self._numbers.own]
        self._most = [_most(counts) for counts in self._counts]
        self._lengths = references.mask.sum(axis=1)

    def scores(self, hypotheses: Samples | Sequences) -> np.ndarray:
        """BLEU of each hypothesis against all references.

        Args:
          hypotheses: tokens and mask `[B, T]`.

        Returns:
          `[max_order, B]` float64; row n - 1 weighs the orders 1 to n alike.
        """
        hypotheses = on_host(hypotheses)
        matched = []
        for numbers, most in zip(self._numbers.of(hypotheses), self._most, strict=True):
            number, row, count = counted(numbers)
            clipped = np.minimum(count, most.first[number])
            matched.append(np.bincount(row, weights=clipped, minlength=len(numbers)))
        lengths = hypotheses.mask.sum(axis=1)
        return _bleu(matched, lengths, _closest(lengths, np.unique(self._lengths)))

    def own_scores(self) -> np.ndarray:
        """BLEU of each reference against all others: itself is never among its references.

        Exact: an n-gram's largest count among the others is its second largest where the sentence
        itself has the largest.

        Returns:
          `[max_order, R]` float64.

        Raises:
          ValueError: there is but one reference.
        """
        if len(self._lengths) < 2:
            raise ValueError("one sequence alone: self-BLEU needs at least two")
        matched = []
        for (number, row, count), most in zip(self._counts, self._most, strict=True):
            others = np.where(most.owner[number] == row, most.second[number], most.first[number])
            clipped = np.minimum(count, others)
            matched.append(np.bincount(row, weights=clipped, minlength=len(self._lengths)))
        different, counts = np.unique(self._lengths, return_counts=True)
        closest = self._lengths.copy()
        for length in different[counts == 1]:  # the one of its length must look elsewhere
            alone = self._lengths == length
            closest[alone] = _closest(self._lengths[alone], different[different != length])
        return _bleu(matched, self._lengths, closest)


def bleu(
    hypotheses: Samples | Sequences, references: Samples | Sequences, max_order: int
) -> np.ndarray:
    """BLEU of each hypothesis with all references as its reference set.

    Args:
      hypotheses: tokens and mask `[B, T]`.
      references: tokens and mask `[R, T']`, such as a whole test set.
      max_order: n; orders 1 to n weigh 1/n each.

    Returns:
      `[B]` float64, equal to NLTK's `sentence_bleu` with smoothing method 1.

    Raises:
      ValueError: no references, or `max_order` is below 1.
    """
    return BleuReferences(references, max_order).scores(hypotheses)[-1]


def self_bleu(samples: Samples | Sequences, max_order: int) -> np.ndarray:
    """BLEU of each sample with all other samples as its reference set (arXiv 1802.01886).

    High values mean little diversity. It grows with the number of samples: compare equal numbers.

    Args:
      samples: tokens and mask `[B, T]`, B >= 2.
      max_order: n; orders 1 to n weigh 1/n each.

    Returns:
      `[B]` float64.

    Raises:
      ValueError: fewer than two samples, or `max_order` is below 1.
    """
    return BleuReferences(samples, max_order).own_scores()[-1]


def backward_bleu(
    samples: Samples | Sequences, references: Samples | Sequences, max_order: int
) -> np.ndarray:
    """BLEU of each reference with the samples as its reference set: what they lack lowers it.

    Returns:
      `[R]` float64; arguments and errors as of `bleu`.
    """
    return bleu(references, samples, max_order)


def _most(counts: Counts) -> _Most:
    number, row, count = counts
    if not number.size:
        return _Most(*[np.zeros(0, np.int64)] * 3)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    first = np.maximum.reduceat(count, starts)
    # The first pair of each n-gram that reaches its largest count owns it.
    is_largest = count == np.repeat(first, np.diff(starts, append=len(number)))
    order = np.flatnonzero(is_largest)
    holders = order[np.flatnonzero(np.diff(number[order], prepend=-1))]
    rest = count.copy()
    rest[holders] = 0
    return _Most(first, np.maximum.reduceat(rest, starts), row[holders])


def _closest(lengths: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The closest of the reference lengths (ascending) to each length; of two, the shorter."""
    different, place = np.unique(lengths, return_inverse=True)
    distance = np.abs(different[:, None] - references[None, :])
    return references[np.argmin(distance, axis=1)][place]


def _bleu(matched: list[np.ndarray], lengths: np.ndarray, closest: np.ndarray) -> np.ndarray:
    """From clipped matches an order, `[B]` each, to scores `[max_order, B]`."""
    logs = []
    for order, numerator in enumerate(matched, 1):
        denominator = np.maximum(lengths - order + 1, 1)
        logs.append(np.log(np.where(numerator > 0, numerator, _EPSILON) / denominator))
    orders = np.arange(1, len(matched) + 1)[:, None]
    precision = np.exp(np.cumsum(logs, axis=0) / orders)
    ratio = closest / np.maximum(lengths, 1)
    penalty = np.where(lengths > closest, 1.0, np.exp(1.0 - ratio))
    return np.where(matched[0] > 0, precision * penalty, 0.0)
