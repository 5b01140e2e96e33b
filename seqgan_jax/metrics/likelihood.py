"""Likelihoods of sequences under a model, in nats per token."""

from __future__ import annotations

from seqgan_jax.losses import mle_loss
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.types import Array, LanguageModel, Params, Samples


def negative_log_likelihood(
    language_model: LanguageModel, params: Params, samples: Samples
) -> Array:
    """Mean negative log-likelihood per real token: -1/T E[sum_t log G(y_t | Y_1:t-1)].

    Three figures are this function of different arguments. NLL_oracle (arXiv 1609.05473, Eq. 13,
    divided by T): the oracle's parameters, the generator's samples. NLL_test: the generator's
    parameters, held-out real sequences. Entropy: the generator's parameters and its own samples, an
    unbiased estimate of the entropy of its distribution over sequences, per token.

    Args:
      language_model: the model that judges.
      params: its parameters.
      samples: tokens and mask `[B, T]`.

    Returns:
      Scalar, nats per token.
    """
    return mle_loss(
        log_probs(language_model, params, samples.tokens, mask=samples.mask), samples.mask
    )
