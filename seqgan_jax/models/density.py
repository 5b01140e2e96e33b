"""A discriminator that is itself a language model, judged against the generator's likelihood."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.types import Array, LanguageModel, Params, SequenceClassifier


@functools.cache
def density(language_model: LanguageModel, dropout_rate: float = 0.0) -> SequenceClassifier:
    """The log-density of sequences, log P_phi(Y_1:T), under a language model of its own.

    Set against the generator's likelihood, it is the discriminator D = P / (P + G), which no
    sequence can satisfy better than P's own samples (Finn et al., arXiv 1611.03852). Trained by the
    same cross-entropy (Eq. 5) as any other, it learns what the data have and the generator lacks;
    the generator's own errors it need not learn, since G is known. On 10,000 sequences its area
    under the curve is 0.93 on held-out data, where the text CNN has 0.55 (docs/frontier.md).

    Args:
      language_model: the model whose parameters are the discriminator's.
      dropout_rate: share of its features dropped while it is trained.

    Returns:
      A `SequenceClassifier` with `is_density`; its "embedded tokens" are the ids themselves,
      `[B, T, 1]`, so it cannot judge relaxed samples. No penalty.
    """

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
        each = log_probs(language_model, params, embedded[..., 0], dropout_rate, dropout_key)
        return jnp.where(mask, each, 0.0).sum(axis=1)

    def penalty(params: Params) -> Array:
        del params
        return jnp.zeros(())

    return SequenceClassifier(language_model.init, embed, apply, penalty, is_density=True)
