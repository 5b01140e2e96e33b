"""Ranking sequences by how near they are to references (Lin et al., arXiv 1705.11001, RankGAN).

The relevance alpha(s | u) of a sequence s to a reference u is the cosine of their features. Among a
comparison set C, s is the one that u would pick with probability
P(s | u, C) = exp(gamma alpha(s | u)) / sum over s' in C and s of exp(gamma alpha(s' | u)),
and its rank is the mean of the logarithm over references: log R(s | U, C) = E_u log P(s | u, C).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from seqgan_jax.search.rewards import judge_rows
from seqgan_jax.types import Array, Params, Reward, Samples, SequenceClassifier

# Features, of `(params, tokens [B, T], mask [B, T], dropout_key)`, [B, F].
FeaturesOf = Callable[[Params, Array, Array, Array | None], Array]

# A squared norm below which a vector has no direction to speak of.
_NO_DIRECTION = 1e-12
# Stands in for the logarithm of 0, whose gradient would be NaN.
_LOG_NOTHING = -1e9


def features_of(classifier: SequenceClassifier) -> FeaturesOf:
    """A classifier's features of tokens, what its output layer would judge.

    Raises:
      ValueError: it has none.
    """
    features = classifier.features
    if features is None:
        raise ValueError(
            "a ranker compares features, and the discriminator gives none; give "
            "discriminator.kind=text_cnn or bigru"
        )

    def apply(params: Params, tokens: Array, mask: Array, dropout_key: Array | None) -> Array:
        return features(params, classifier.embed(params, tokens), mask, dropout_key)

    return apply


def relevance(features: Array, references: Array) -> Array:
    """alpha(s | u): the cosine of every sequence's features and every reference's.

    Args:
      features: `[S, F]`.
      references: `[U, F]`.

    Returns:
      `[S, U]`, each in [-1, 1]; 0 where either is (next to) the zero vector, whose gradient is then
      that of the plain product, so finite.
    """

    def unit(vectors: Array) -> Array:
        squares = jnp.square(vectors).sum(axis=1, keepdims=True)
        return vectors * jax.lax.rsqrt(jnp.where(squares > _NO_DIRECTION, squares, 1.0))

    return jnp.einsum("sf,uf->su", unit(features), unit(references), precision="highest")


def log_rank(
    relevances: Array,
    compared: Array,
    sharpness: float,
    *,
    is_reference: Array | None = None,
    is_compared: Array | None = None,
) -> Array:
    """log R(s | U, C): the mean over references of log P(s | u, C), each s beside C on its own.

    Args:
      relevances: alpha of the sequences ranked. `[S, U]`.
      compared: alpha of the comparison set. `[C, U]`, C at least 1.
      sharpness: gamma, the inverse temperature of P.
      is_reference: which references rank a sequence, `[S, U]` bool; None for all.
      is_compared: which sequences a reference compares with, `[C, U]` bool; None for all.

    Returns:
      Nats, `[S]`, at most 0; -log(C + 1) where all are equally relevant. A sequence without
      references, or compared with nothing, gets 0, and no gradient.
    """
    scores = sharpness * relevances
    rivals = sharpness * compared
    if is_compared is not None:
        rivals = jnp.where(is_compared, rivals, _LOG_NOTHING)
    margins = scores - jax.nn.logsumexp(rivals, axis=0)[None, :]
    log_probs = -jnp.logaddexp(0.0, -margins)  # a / (a + b) = 1 / (1 + b / a)
    if is_reference is None:
        return log_probs.mean(axis=1)
    total = jnp.where(is_reference, log_probs, 0.0).sum(axis=1)
    return total / jnp.maximum(is_reference.sum(axis=1), 1)


def rank_reward(
    classifier: SequenceClassifier,
    params: Params,
    references: Samples,
    compared: Samples,
    sharpness: float,
) -> Reward:
    """A sequence's log rank, by references U among a comparison set C, both real.

    Args:
      classifier: the ranker, of which only the features count.
      params: its parameters.
      references: U, tokens and mask `[U, T]`. Their features are computed here, once.
      compared: C, likewise `[C, T]`.
      sharpness: gamma.

    Returns:
      A reward, in nats, at most 0; dropout is off.

    Raises:
      ValueError: the classifier has no features.
    """
    features = features_of(classifier)
    anchors = jax.lax.stop_gradient(features(params, references.tokens, references.mask, None))
    rivals = jax.lax.stop_gradient(features(params, compared.tokens, compared.mask, None))
    of_rivals = relevance(rivals, anchors)

    def reward(
        params: Params, anchors: Array, of_rivals: Array, tokens: Array, mask: Array
    ) -> Array:
        def judge(rows: Samples) -> Array:
            of_rows = relevance(features(params, rows.tokens, rows.mask, None), anchors)
            return log_rank(of_rows, of_rivals, sharpness)

        return judge_rows(judge, tokens, mask)

    return Partial(reward, params, anchors, of_rivals)
