"""Control: Monte Carlo search with rewards of chance, the noise of a reward without its sense."""

from __future__ import annotations

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import policy_gradient
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.searched import without_discriminator
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.rewards import random_reward as reward_of_chance
from seqgan_jax.types import LanguageModel, Metrics, Samples, SequenceClassifier


def generator_step(
    state: TrainState, batch: Samples, *, language_model: LanguageModel, hparams: TrainingHParams
) -> tuple[TrainState, Metrics]:
    """A g-step of SeqGAN in which chance rewards each sequence, uniform in [0, 1)."""
    reward = reward_of_chance(state.subkey("reward"))
    return policy_gradient.searched_step(
        state, batch, reward, language_model=language_model, hparams=hparams
    )


def random_reward(
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
