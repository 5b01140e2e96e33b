"""Control: Monte Carlo search with a reward of 1 for all, which shows what sharpening does alone.

A positive reward without a baseline makes whatever was drawn likelier. In expectation its gradient
is 0 (the score's mean), so that what a run of it gains or loses is drift.
"""

from __future__ import annotations

import dataclasses

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import policy_gradient
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.searched import without_discriminator
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.rewards import constant_reward as reward_of_one
from seqgan_jax.types import LanguageModel, Metrics, Samples, SequenceClassifier


def generator_step(
    state: TrainState, batch: Samples, *, language_model: LanguageModel, hparams: TrainingHParams
) -> tuple[TrainState, Metrics]:
    """A g-step of SeqGAN in which every sequence earns 1; `hparams.baseline` would take it away."""
    hparams = dataclasses.replace(hparams, baseline="none")
    return policy_gradient.searched_step(
        state, batch, reward_of_one(), language_model=language_model, hparams=hparams
    )


def constant_reward(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """The control's functions: those of maximum likelihood, but for the generator's step.

    Raises:
      ValueError: dropout, of a model without `features` and `output`.
    """
    del train
    return without_discriminator(language_model, classifier, hparams, generator_step)
