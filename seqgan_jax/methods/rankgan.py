"""RankGAN: Monte Carlo search, rewarded by rank against references (Lin et al., arXiv 1705.11001).

The discriminator is a ranker: it learns features by which real sequences are nearer to real ones
than generated ones are, and never says of one sequence alone whether it is real.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.losses import masked_mean
from seqgan_jax.methods import descent, optimizers, policy_gradient
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.seqgan import seqgan
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.ranking import features_of, log_rank, rank_reward, relevance
from seqgan_jax.types import (
    Array,
    LabelledBatch,
    LanguageModel,
    Metrics,
    Params,
    Samples,
    SequenceClassifier,
)


def generator_step(
    state: TrainState,
    batch: Samples,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """One g-step: draw sequences, search, and follow the policy gradient of the log rank.

    Args:
      state: the training state.
      batch: real sequences `[B, T]`, drawn at random: the first half are the references U, the
        others the comparison set C+. As many are drawn, as long.
      language_model: the generator, and the rollout policy.
      classifier: the ranker.
      hparams: optimiser, baseline, rollouts and `rank_sharpness`. `reward` does not apply. The log
        rank is never above 0, and about -log(B / 2): with a baseline of none all that is drawn is
        pushed down.

    Returns:
      The next state, and the scalars of `policy_gradient.follow`; rewards are log ranks, in nats.

    Raises:
      ValueError: B is 1, or the classifier has no features.
    """
    half = batch.tokens.shape[0] // 2
    if half < 1:
        raise ValueError(
            "schedule.batch_size=1: a ranker needs a reference and one to compare with; give at "
            "least 2"
        )
    references = Samples(batch.tokens[:half], batch.mask[:half])
    compared = Samples(batch.tokens[half:], batch.mask[half:])
    reward = rank_reward(
        classifier, state.discriminator, references, compared, hparams.rank_sharpness
    )
    return policy_gradient.searched_step(
        state, batch, reward, language_model=language_model, hparams=hparams
    )


def ranking_loss(features: Array, labels: Array, sharpness: float) -> tuple[Array, Array]:
    """What a ranker minimises: mean log R(s | U, C+) of generated s less log R(s | U, C-) of real.

    U are the real rows of the batch but s itself. C-, what a real s is compared with, are the
    generated ones; C+, what a generated s is compared with, the real ones but u.

    Args:
      features: `[B, F]`.
      labels: 1 for real, 0 for generated. `[B]`.
      sharpness: gamma.

    Returns:
      The loss in nats, about 0 where nothing tells the two kinds apart; and the share of pairs, a
      real and a generated row, in which the real one is the more relevant to U, ties half. The
      ranks themselves are of different comparison sets, so their order would say less.
      A batch of one kind has neither pairs (then 0.5) nor anything to compare with.
    """
    real = labels > 0.5
    relevances = relevance(features, features)
    others = ~jnp.eye(labels.shape[0], dtype=bool)
    is_reference = real[None, :] & others  # [s, u]
    rank = functools.partial(log_rank, relevances, relevances, sharpness, is_reference=is_reference)
    among_generated = rank(is_compared=jnp.broadcast_to(~real[:, None], others.shape))
    among_real = rank(is_compared=real[:, None] & others)
    loss = masked_mean(among_real, ~real) - masked_mean(among_generated, real)

    nearness = jnp.where(is_reference, relevances, 0.0).sum(axis=1)
    nearness /= jnp.maximum(is_reference.sum(axis=1), 1)
    difference = nearness[:, None] - nearness[None, :]
    pairs = real[:, None] & ~real[None, :]
    share = masked_mean(0.5 * (1.0 + jnp.sign(difference)), pairs)
    return loss, jnp.where(pairs.any(), share, 0.5)


def discriminator_step(
    state: TrainState,
    batch: LabelledBatch,
    *,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """One step of the ranker on labelled sequences.

    Args:
      state: the training state.
      batch: real and generated sequences `[B, T]` with labels `[B]`, in any order and number.
      classifier: the ranker.
      hparams: its optimiser and `rank_sharpness`. `d_l2` does not apply: it weighs the output
        layer, which a ranker does not use.

    Returns:
      The next state, and scalars: `d_loss` and `d_accuracy`, the two of `ranking_loss` with dropout
      on, and `d_grad_norm`.

    Raises:
      ValueError: the classifier has no features.
    """
    features = features_of(classifier)

    def loss_of(params: Params) -> tuple[Array, Metrics]:
        vectors = features(params, batch.tokens, batch.mask, state.subkey("dropout"))
        loss, accuracy = ranking_loss(vectors, batch.labels, hparams.rank_sharpness)
        return loss, {"d_loss": loss, "d_accuracy": accuracy}

    return descent.discriminator(state, loss_of, optimizers.discriminator(hparams))


def rankgan(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """RankGAN's functions: SeqGAN's, but for both players' steps.

    Raises:
      ValueError: the discriminator has no features, or the settings ask for what the models do not
        give.
    """
    features_of(classifier)
    return seqgan(language_model, classifier, hparams, train)._replace(
        generator_step=functools.partial(
            generator_step, language_model=language_model, classifier=classifier, hparams=hparams
        ),
        discriminator_step=functools.partial(
            discriminator_step, classifier=classifier, hparams=hparams
        ),
        is_verdict=False,
    )
