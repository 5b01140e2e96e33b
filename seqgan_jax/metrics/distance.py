"""Distances between the distributions of samples and of references."""

from __future__ import annotations

import numpy as np

from seqgan_jax.metrics.ngrams import NONE, NgramNumbers, joined, on_host
from seqgan_jax.types import Samples, Sequences


def length_distance(samples: Samples | Sequences, references: Samples | Sequences) -> float:
    """Wasserstein-1 distance between the distributions of lengths, in tokens.

    Args:
      samples: tokens and mask `[B, T]`.
      references: tokens and mask `[R, T']`.

    Returns:
      The area between the two cumulative distributions; NaN where one of the two has no sequence.
    """
    lengths = [on_host(sequences).mask.sum(axis=1) for sequences in (samples, references)]
    if not all(each.size for each in lengths):
        return float("nan")
    size = 1 + max(int(each.max()) for each in lengths)
    shares = [np.bincount(each, minlength=size) / len(each) for each in lengths]
    return float(np.abs(np.cumsum(shares[0] - shares[1])).sum())


def jensen_shannon_divergence(
    samples: Samples | Sequences, references: Samples | Sequences, order: int
) -> float:
    """Jensen-Shannon divergence of the n-gram distributions (as in arXiv 1704.00028).

    Args:
      samples: tokens and mask `[B, T]`.
      references: tokens and mask `[R, T']`.
      order: n.

    Returns:
      Nats, from 0 to ln 2; NaN where one of the two has no n-gram.
    """
    numbers = NgramNumbers(joined(samples, references), order)
    own = numbers.own[order - 1]
    halves = own[: len(samples.tokens)], own[len(samples.tokens) :]
    counts = [
        np.bincount(half[half != NONE], minlength=numbers.count(order)).astype(np.float64)
        for half in halves
    ]
    if not all(each.sum() for each in counts):
        return float("nan")
    p, q = (each / each.sum() for each in counts)
    middle = 0.5 * (p + q)
    divergence = 0.5 * (_divergence(p, middle) + _divergence(q, middle))
    return float(np.clip(divergence, 0.0, np.log(2.0)))  # its bounds, which rounding may miss


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q), where q is positive wherever p is."""
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())
