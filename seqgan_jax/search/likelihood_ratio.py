"""Judging sequences by the ratio of two likelihoods: the discriminator's and the generator's.

D(Y) = P(Y) / (P(Y) + G(Y)), so its logit is log P(Y) - log G(Y) (Finn et al., arXiv 1611.03852).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from seqgan_jax.models.density import density
from seqgan_jax.search.rewards import discriminator_reward, judge_rows
from seqgan_jax.types import Array, LanguageModel, Params, Reward, Samples, SequenceClassifier


def against_generator(
    classifier: SequenceClassifier, language_model: LanguageModel, generator: Params
) -> SequenceClassifier:
    """A classifier whose logit is a logit, whatever the one given has.

    Args:
      classifier: the discriminator.
      language_model: the generator.
      generator: its parameters; no gradient flows to them.

    Returns:
      The classifier itself; or, of one that gives a density, log P(Y) - log G(Y).
    """
    if not classifier.is_density:
        return classifier
    own = density(language_model)
    generator = jax.lax.stop_gradient(generator)

    def apply(
        params: Params, embedded: Array, mask: Array, dropout_key: Array | None = None
    ) -> Array:
        log_density = classifier.apply(params, embedded, mask, dropout_key)
        return log_density - own.apply(generator, embedded, mask, None)

    return dataclasses.replace(classifier, apply=apply, is_density=False)


def likelihood_ratio_reward(
    classifier: SequenceClassifier,
    discriminator: Params,
    language_model: LanguageModel,
    generator: Params,
    *,
    entropy: float = 1.0,
    min_nll: float = 0.0,
    per_token: bool = False,
) -> Reward:
    """min(log P(Y), -min_nll * |Y|) - entropy * log G(Y): `min_nll` caps log P.

    With `entropy` 1 and `min_nll` 0 it is the discriminator's logit, and its policy gradient that
    of -KL(G || P), whose one maximum is G = P. With less entropy the maximum is P^(1 / entropy),
    normalised, sharper than P: on long sequences nearly all of it lies on a few loops of likely
    tokens. Nothing is gained by being likelier than `min_nll`, so they are not worth collapsing to.

    Args:
      classifier: a density.
      discriminator: its parameters.
      language_model: the generator.
      generator: its parameters.
      entropy: weight of the generator's own likelihood.
      min_nll: nats per token.
      per_token: divide by |Y|. With an `entropy` below 1 a token earns less than nothing on
        average, so that the sum rewards short sequences; the mean does not.

    Returns:
      A reward; dropout is off, and no gradient is meant to flow through it.

    Raises:
      ValueError: the classifier gives a logit instead.
    """
    if not classifier.is_density:
        raise ValueError("the classifier gives a logit; a likelihood ratio needs a density")

    own = density(language_model)

    def reward(discriminator: Params, generator: Params, tokens: Array, mask: Array) -> Array:
        def judge(rows: Samples) -> Array:
            embedded = classifier.embed(discriminator, rows.tokens)
            log_density = classifier.apply(discriminator, embedded, rows.mask, None)
            capped = jnp.minimum(log_density, -min_nll * rows.mask.sum(axis=1))
            total = capped - entropy * own.apply(generator, embedded, rows.mask, None)
            # An empty sequence's total is 0.
            return total / jnp.maximum(rows.mask.sum(axis=1), 1) if per_token else total

        return judge_rows(judge, tokens, mask)

    return Partial(reward, discriminator, generator)


def verdict_reward(
    classifier: SequenceClassifier,
    discriminator: Params,
    language_model: LanguageModel,
    generator: Params,
    logit_map: str = "probability",
) -> Reward:
    """`discriminator_reward` of any discriminator; a density is set against the generator first.

    Args:
      classifier: the discriminator.
      discriminator: its parameters.
      language_model: the generator.
      generator: its parameters.
      logit_map: a name in `rewards.LOGIT_MAPS`.

    Returns:
      A reward; dropout is off.

    Raises:
      ValueError: no such map.
    """

    def reward(discriminator: Params, generator: Params, tokens: Array, mask: Array) -> Array:
        judge = against_generator(classifier, language_model, generator)
        return discriminator_reward(judge, discriminator, logit_map)(tokens, mask)

    return Partial(reward, discriminator, generator)
