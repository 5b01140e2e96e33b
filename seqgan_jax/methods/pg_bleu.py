"""PG-BLEU, the paper's baseline: policy gradient with BLEU as the reward (arXiv 1609.05473, 4)."""

from __future__ import annotations

import functools

import numpy as np

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import policy_gradient
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.searched import without_discriminator
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.bleu_reward import bleu_reward
from seqgan_jax.types import (
    LanguageModel,
    Metrics,
    Reward,
    Samples,
    SequenceClassifier,
    Sequences,
)

_SEED = 0  # of the choice of references: fixed, so that a resumed run has the same ones


def choose_references(train: Samples | Sequences, share: float) -> Sequences:
    """A random share of the training sequences, at least one; always the same ones.

    Args:
      train: tokens and mask `[R, T]`.
      share: in (0, 1]; the paper's is 0.4.
    """
    tokens, mask = (np.asarray(leaf) for leaf in train)
    number = max(1, round(share * len(tokens)))
    rows = np.random.default_rng(_SEED).permutation(len(tokens))[:number]
    return Sequences(tokens[rows], mask[rows])


def generator_step(
    state: TrainState,
    batch: Samples,
    *,
    reward: Reward | None,
    language_model: LanguageModel,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """A g-step of SeqGAN in which BLEU rewards finished sequences; `reward_mean` tells of it.

    Raises:
      ValueError: there is no reward, because the method was made without training sequences.
    """
    if reward is None:
        raise ValueError(
            "pg_bleu was made without training sequences, which are BLEU's references: it can be "
            "sampled from, not trained; give the method `train`"
        )
    return policy_gradient.searched_step(
        state, batch, reward, language_model=language_model, hparams=hparams
    )


def pg_bleu(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """The method's functions: those of maximum likelihood, but for the generator's step.

    The paper sets `bleu_order` 3 and `num_rollouts` 1. BLEU's optimum is not the data: a generator
    that repeats one reference earns 1.

    Args:
      language_model: the generator.
      classifier: kept in the state as every method's is, and never asked.
      hparams: the share of references, BLEU's order, and the policy gradient's settings.
      train: the references are chosen among these, and counted here, once; None where nothing is
        to be trained.

    Raises:
      ValueError: dropout, of a model without `features` and `output`.
    """
    reward = None
    if train is not None:
        references = choose_references(train, hparams.bleu_references)
        reward = bleu_reward(
            references, hparams.bleu_order, language_model.end_token, language_model.unknown_token
        )
    step = functools.partial(generator_step, reward=reward)
    return without_discriminator(language_model, classifier, hparams, step)
