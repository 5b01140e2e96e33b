"""What methods share whose generator follows the gradient through the discriminator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import optax

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import mle, policy_gradient
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.state import TrainState, init_state
from seqgan_jax.types import LanguageModel, Metrics, SequenceClassifier


def bind(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    *,
    generator_step: Callable[..., tuple[TrainState, Metrics]],
    discriminator_step: Callable[..., tuple[TrainState, Metrics]],
    g_optimizer: optax.GradientTransformation | None = None,
    d_optimizer: optax.GradientTransformation | None = None,
) -> Method:
    """A method whose generator follows the gradient through the discriminator, bound to both.

    Args:
      language_model: the generator.
      classifier: the discriminator.
      hparams: the settings.
      generator_step: takes a state, a batch, and by name the three arguments above.
      discriminator_step: likewise.
      g_optimizer: the generator's, in place of the one that `hparams` choose.
      d_optimizer: the discriminator's, likewise.

    Raises:
      ValueError: the classifier is a density, or the settings ask for dropout that the language
        model does not give.
    """
    if classifier.is_density:
        raise ValueError(
            "a density gives no logit of distributions over the vocabulary; give "
            "discriminator.kind=text_cnn or bigru"
        )
    mle.check_dropout(language_model, hparams)
    players: dict[str, Any] = {
        "language_model": language_model, "classifier": classifier, "hparams": hparams
    }  # fmt: skip
    return Method(
        init_state=functools.partial(
            init_state, g_optimizer=g_optimizer, d_optimizer=d_optimizer, **players
        ),
        pretrain_generator_step=functools.partial(
            mle.pretrain_generator_step, language_model=language_model, hparams=hparams
        ),
        generator_step=functools.partial(generator_step, **players),
        discriminator_step=functools.partial(discriminator_step, **players),
        end_round=functools.partial(policy_gradient.update_rollout_policy, hparams=hparams),
    )
