"""A method that searches for a reward which no discriminator gives."""

from __future__ import annotations

import functools
from collections.abc import Callable

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import policy_gradient
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.mle import mle
from seqgan_jax.methods.state import TrainState
from seqgan_jax.types import LanguageModel, Metrics, SequenceClassifier


def without_discriminator(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    generator_step: Callable[..., tuple[TrainState, Metrics]],
) -> Method:
    """Maximum likelihood's functions, but for a generator's step that searches as SeqGAN's does.

    Args:
      language_model: the generator.
      classifier: kept in the state as every method's is, and never asked.
      hparams: the settings.
      generator_step: takes a state, a batch, and by name the language model and the settings.

    Raises:
      ValueError: dropout, of a model without `features` and `output`.
    """
    return mle(language_model, classifier, hparams)._replace(
        generator_step=functools.partial(
            generator_step, language_model=language_model, hparams=hparams
        ),
        end_round=functools.partial(policy_gradient.update_rollout_policy, hparams=hparams),
        drawn=policy_gradient.searches(hparams.num_rollouts),
    )
