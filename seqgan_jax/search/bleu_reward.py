"""BLEU of whole sequences as a reward, computed on the device inside the compiled step.

Equal to `metrics.bleu` to float32's rounding: NLTK's `sentence_bleu` with smoothing method 1 (Chen
and Cherry 2014, epsilon 0.1); the brevity penalty is against the closest reference length (Papineni
et al. 2002). The references are counted once, on the host, into a trie of their n-grams.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax.search.rewards import judge_rows
from seqgan_jax.types import Array, Reward, Samples, Sequences

_EPSILON = 0.1  # matches of an order that has none
_NONE = -1  # stands where no n-gram of references does


class Level(NamedTuple):
    """The references' K n-grams of one order: each the child of its first n - 1 tokens.

    Their numbers are in the order of parents and, of one parent, of last tokens, so that a search
    among a parent's children finds one exactly, with no number above K: 32 bits do. Number K stands
    for every other n-gram; it has no children and is in no reference.
    """

    begin: np.ndarray  # [parents + 2] int32: the first child of each parent, and of what is none
    last: np.ndarray  # [K + 1] int32: the last token
    most: np.ndarray  # [K + 1] int32: the largest count in any one reference
    steps: int  # of a binary search among the children of one parent, at most


def bleu_reward(
    references: Samples | Sequences,
    max_order: int,
    end_token: int | None = None,
    unknown_token: int | None = None,
) -> Reward:
    """BLEU of each sequence with all references as its reference set.

    Args:
      references: tokens and mask `[R, T']`; T' may differ from the T of what is judged. A negative
        id matches nothing.
      max_order: n; orders 1 to n weigh 1/n each.
      end_token: no word, left out of references and sequences alike; None where there is none.
      unknown_token: stands for a word, but never for the one that a reference has; or None.

    Returns:
      A reward in [0, 1]. Each call counts n-grams in blocks of sequences, so that memory
      does not grow with their number. An empty sequence earns 0.

    Raises:
      ValueError: no references, or `max_order` is below 1.
    """
    if max_order < 1:
        raise ValueError(f"max_order={max_order}: must be at least 1")
    known, is_word = (np.asarray(leaf) for leaf in references)
    if not len(known):
        raise ValueError("no references: BLEU needs at least one")
    if end_token is not None:
        is_word = is_word & (known != end_token)
    if unknown_token is not None:
        known = np.where(known == unknown_token, _NONE, known)
    levels = _trie(known, is_word, max_order)
    reference_lengths = np.unique(is_word.sum(axis=1))

    def reward(tokens: Array, mask: Array) -> Array:
        penalties = _brevity_penalties(tokens.shape[-1], reference_lengths)
        words = mask if end_token is None else mask & (tokens != end_token)

        def judge(rows: Samples) -> Array:
            return _bleu(rows, levels, penalties)

        return judge_rows(judge, tokens, words)

    return reward


def _trie(tokens: np.ndarray, is_word: np.ndarray, max_order: int) -> list[Level]:
    """Counts the references' n-grams, orders 1 to `max_order`."""
    tokens = tokens.astype(np.int64)
    is_word = is_word & (tokens >= 0)
    ids, ranks = np.unique(tokens[is_word], return_inverse=True)
    rank = np.full(tokens.shape, _NONE, np.int64)
    rank[is_word] = ranks
    # Of each position, the number of the n-gram that begins there; the empty one is number 0.
    number = np.zeros((len(tokens), tokens.shape[1] + 1), np.int64)
    parents, levels = 1, []
    for order in range(1, max_order + 1):
        first, last = number[:, :-1], rank[:, order - 1 :]
        inside = (first != _NONE) & (last != _NONE)
        # Both factors are at most the number of tokens: 64 bits hold their product.
        keys = first * max(len(ids), 1) + last
        known, places = np.unique(keys[inside], return_inverse=True)
        number = np.full(first.shape, _NONE, np.int64)
        number[inside] = places
        parent_of, last_of = np.divmod(known, max(len(ids), 1))
        begin = np.searchsorted(parent_of, np.arange(parents + 2))
        levels.append(
            Level(
                begin.astype(np.int32),
                np.append(ids[last_of], _NONE).astype(np.int32),
                np.append(_largest_counts(number, len(known)), 0).astype(np.int32),
                int(np.diff(begin).max()).bit_length(),
            )
        )
        parents = len(known)
    return levels


def _largest_counts(number: np.ndarray, different: int) -> np.ndarray:
    """How often each n-gram stands in the row that has most of it; of numbers `[R, P]`, `[K]`."""
    rows = np.broadcast_to(np.arange(len(number))[:, None], number.shape)
    known = number != _NONE
    pairs, counts = np.unique(number[known] * len(number) + rows[known], return_counts=True)
    most = np.zeros(different, np.int64)
    np.maximum.at(most, pairs // len(number), counts)
    return most


def _brevity_penalties(longest: int, reference_lengths: np.ndarray) -> np.ndarray:
    """Of each length 0 to `longest`, `[T + 1]` float32; of two closest references, the shorter."""
    lengths = np.arange(longest + 1)
    distance = np.abs(lengths[:, None] - reference_lengths[None, :])  # lengths ascend
    closest = reference_lengths[np.argmin(distance, axis=1)]
    penalties = np.exp(np.minimum(1.0 - closest / np.maximum(lengths, 1), 0.0))
    return penalties.astype(np.float32)


def _child(level: Level, parent: Array, token: Array) -> Array:
    """Numbers of n-grams, by those of their first n - 1 tokens and by their last; of one shape."""
    begin, last = jnp.asarray(level.begin), jnp.asarray(level.last)
    end = begin[parent + 1]

    def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        is_before = (low < high) & (last[middle] < token)
        return jnp.where(is_before, middle + 1, low), jnp.where(is_before, high, middle)

    place, _ = jax.lax.fori_loop(0, level.steps, halve, (begin[parent], end))
    return jnp.where((place < end) & (last[place] == token), place, len(level.last) - 1)


def _clipped_matches(level: Level, number: Array) -> Array:
    """Of each row, its n-grams that references have, each at most as often as any one of them.

    Args:
      level: the references' n-grams of this order.
      number: of the n-gram that begins at each position, `[B, P]`.

    Returns:
      `[B]` int32.
    """
    # An n-gram counts where fewer of the same stand before it than a reference has.
    before = np.tri(number.shape[1], k=-1, dtype=bool)[None]
    seen = ((number[:, :, None] == number[:, None, :]) & before).sum(axis=-1)
    return (seen < jnp.asarray(level.most)[number]).sum(axis=-1)


def _bleu(rows: Samples, levels: list[Level], penalties: np.ndarray) -> Array:
    """BLEU of rows `[B, T]` of which the mask marks the words, `[B]` float32."""
    tokens, is_word = rows
    chex.assert_rank([tokens, is_word], 2)
    lengths = is_word.sum(axis=1)
    log_precision = jnp.zeros(lengths.shape, jnp.float32)
    has_common_word = jnp.zeros(lengths.shape, bool)
    number = jnp.zeros((tokens.shape[0], tokens.shape[1] + 1), jnp.int32)
    for order, level in enumerate(levels, 1):
        child = _child(level, number[:, :-1], tokens[:, order - 1 :])
        number = jnp.where(is_word[:, order - 1 :], child, len(level.last) - 1)
        matched = _clipped_matches(level, number)
        if order == 1:
            has_common_word = matched > 0
        possible = jnp.maximum(lengths - order + 1, 1)
        log_precision += jnp.log(jnp.where(matched > 0, matched, _EPSILON) / possible)
    precision = jnp.exp(log_precision / len(levels))
    return jnp.where(has_common_word, precision * jnp.asarray(penalties)[lengths], 0.0)
