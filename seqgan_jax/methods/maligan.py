"""MaliGAN: the generator's own samples, weighed up to real ones (Che et al., arXiv 1702.07983).

At D's best, D / (1 - D) = P(Y) / G(Y), so samples of G that are weighed by it stand for samples of
P, and the gradient of their log-likelihood is that of maximum likelihood. The weights are
normalised over the batch, and each is less the mean weight.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import policy_gradient
from seqgan_jax.methods.method import Method, draws_batch, same_state
from seqgan_jax.methods.seqgan import seqgan
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.likelihood_ratio import verdict_reward
from seqgan_jax.search.rewards import scores
from seqgan_jax.types import Array, LanguageModel, Metrics, Samples, SequenceClassifier


def importance_weights(logits: Array) -> Array:
    """r_i / sum_j r_j - 1 / B, of r = D / (1 - D) = exp(logit): softmax over the batch, less 1 / B.

    The baseline b of the paper is a constant; 1 / B is the mean weight, so that the weights sum to
    zero, and where D finds no difference nothing is moved.

    Args:
      logits: the discriminator's. `[B]`.

    Returns:
      `[B]`, each in [-1 / B, 1 - 1 / B].
    """
    return jax.nn.softmax(logits) - 1.0 / logits.shape[0]


def generator_step(
    state: TrainState,
    batch: Samples,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """One g-step: draw sequences, weigh each as a whole, and follow their log-likelihood.

    Args:
      state: the training state.
      batch: real sequences `[B, T]`, of which only the shape counts: how many to draw, how long.
      language_model: the generator.
      classifier: the discriminator; of a density, the weight is that of P / G itself.
      hparams: the optimiser. `reward` and `baseline` do not apply: the weights are both.

    Returns:
      The next state, and the scalars of `policy_gradient.follow`; the rewards told of are D's
      probabilities, `advantage_std` is of the weights. And `effective_samples` (Kish), in [1, B]:
      near 1, a single sequence of the batch is all that is followed.

    Raises:
      ValueError: B is 1, whose weight would be 0.
    """
    if batch.tokens.shape[0] < 2:
        raise ValueError(
            "schedule.batch_size=1: the weights are relative to their batch; give at least 2"
        )
    drawn = policy_gradient.draw(state, batch, language_model)
    judge = verdict_reward(
        classifier, state.discriminator, language_model, state.generator, "logit"
    )
    logits = scores(judge, drawn.tokens, drawn.mask)
    weights = jnp.broadcast_to(importance_weights(logits)[:, None], drawn.tokens.shape)
    state, metrics = policy_gradient.follow(
        state, drawn, jax.nn.sigmoid(logits), weights,
        language_model=language_model, hparams=hparams,
    )  # fmt: skip
    effective = 1.0 / jnp.sum(jnp.square(jax.nn.softmax(logits)))
    return state, {**metrics, "effective_samples": effective}


def maligan(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """MaliGAN's functions: SeqGAN's, but for the generator's step; there is no rollout policy.

    Raises:
      ValueError: the settings ask for what the models do not give.
    """
    return seqgan(language_model, classifier, hparams, train)._replace(
        generator_step=functools.partial(
            generator_step, language_model=language_model, classifier=classifier, hparams=hparams
        ),
        end_round=same_state,
        drawn=draws_batch,
    )
