"""What methods share whose generator follows the gradient through the discriminator."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import optax

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import mle, optimizers, policy_gradient
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.state import TrainState, init_state
from seqgan_jax.types import Array, LanguageModel, Metrics, Params, SequenceClassifier

# Maps the generator's parameters to its loss, and to what each sequence has earned, [B].
LossOf = Callable[[Params], tuple[Array, Array]]


def descend_generator(
    state: TrainState, loss_of: LossOf, hparams: TrainingHParams
) -> tuple[TrainState, Metrics]:
    """One step of the generator down a loss that is differentiable in its parameters.

    Args:
      state: the training state.
      loss_of: `params -> (loss, what each sequence drawn has earned [B])`.
      hparams: the optimiser's settings.

    Returns:
      The next state, and scalars: `g_loss`, `g_grad_norm` (before clipping), `reward_mean` and
      `reward_std`.
    """
    (loss, rewards), grads = jax.value_and_grad(loss_of, has_aux=True)(state.generator)
    optimizer = optimizers.generator(hparams)
    updates, opt_state = optimizer.update(grads, state.g_opt_state, state.generator)
    state = dataclasses.replace(
        state,
        step=state.step + 1,
        generator=optax.apply_updates(state.generator, updates),
        g_opt_state=opt_state,
    )
    return state, {
        "g_loss": loss,
        "g_grad_norm": optax.tree.norm(grads),
        "reward_mean": rewards.mean(),
        "reward_std": rewards.std(),
    }


def bind(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    *,
    name: str,
    generator_step: Callable[..., tuple[TrainState, Metrics]],
    discriminator_step: Callable[..., tuple[TrainState, Metrics]],
    d_optimizer: optax.GradientTransformation | None = None,
) -> Method:
    """A method whose generator follows the gradient through the discriminator, bound to both.

    Args:
      language_model: the generator.
      classifier: the discriminator.
      hparams: the settings.
      name: the method's, for errors.
      generator_step: takes a state, a batch, and by name the three arguments above.
      discriminator_step: likewise.
      d_optimizer: the discriminator's, in place of the one that `hparams` choose.

    Raises:
      ValueError: the classifier is a density, or the settings ask for dropout that the language
        model does not give.
    """
    if classifier.is_density:
        raise ValueError(
            f"{name}: a density gives no logit of distributions over the vocabulary; give "
            "discriminator.kind=text_cnn or bigru"
        )
    mle.check_dropout(language_model, hparams)
    players: dict[str, Any] = {
        "language_model": language_model, "classifier": classifier, "hparams": hparams
    }  # fmt: skip
    return Method(
        init_state=functools.partial(init_state, d_optimizer=d_optimizer, **players),
        pretrain_generator_step=functools.partial(
            mle.pretrain_generator_step, language_model=language_model, hparams=hparams
        ),
        generator_step=functools.partial(generator_step, **players),
        discriminator_step=functools.partial(discriminator_step, **players),
        end_round=functools.partial(policy_gradient.update_rollout_policy, hparams=hparams),
    )
