"""A discriminator that is itself a language model, judged against the generator's likelihood."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.types import Array, LanguageModel, Params, SequenceClassifier


@functools.cache
def density(language_model: LanguageModel, dropout_rate: float = 0.0) -> SequenceClassifier:
    """The log-density of sequences, log P_phi(Y_1:T), under a language model of its own.

    Set against the generator's likelihood, it is the discriminator D = P / (P + G) (Finn et al.,
    arXiv 1611.03852), whose cross-entropy (Eq. 5) is least where P is the data's density. The
    generator's own errors it need not learn, since G is known (docs/frontier.md).

    Args:
      language_model: the model whose parameters are the discriminator's.
      dropout_rate: share of its features dropped while it is trained.

    Returns:
      A `SequenceClassifier` with `is_density`; its "embedded tokens" are the ids themselves,
      `[B, T, 1]`, so it cannot judge relaxed samples. No penalty.

    Raises:
      ValueError: dropout, of a model without `features` and `output`.
    """
    if dropout_rate > 0.0 and language_model.features is None:
        raise ValueError(
            f"dropout_rate={dropout_rate}: the language model gives no `features` and `output` to "
            "drop from; give 0"
        )

    def embed(params: Params, tokens: Array) -> Array:
        del params
        if not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise TypeError(
                f"tokens of dtype {tokens.dtype}: a density judges token ids, not distributions; "
                "use text_cnn for relaxed samples"
            )
        return tokens[..., None]

    def apply(
        params: Params, embedded: Array, mask: Array, dropout_key: Array | None = None
    ) -> Array:
        each = log_probs(language_model, params, embedded[..., 0], dropout_rate, dropout_key, mask)
        return jnp.where(mask, each, 0.0).sum(axis=1)

    def penalty(params: Params) -> Array:
        del params
        return jnp.zeros(())

    return SequenceClassifier(language_model.init, embed, apply, penalty, is_density=True)
