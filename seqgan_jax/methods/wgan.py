"""Wasserstein GAN: a critic on the generator's softmax outputs, its weights clipped.

Arjovsky et al., arXiv 1701.07875; see `critic` for what it sees.

Each of the schedule's rounds makes d_steps * d_epochs * (2 d_samples / d_batch_size) updates of
the critic after g_steps of the generator: their ratio is the source's n_critic.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import critic, descent, through_discriminator
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.state import TrainState
from seqgan_jax.types import (
    Array,
    LabelledBatch,
    LanguageModel,
    Metrics,
    Params,
    Samples,
    SequenceClassifier,
)


def _rmsprop(learning_rate: float) -> optax.GradientTransformation:
    """Without momentum, which the source found to make it unstable; unbiased from the start."""
    # A clipped critic's slopes are far below the root of optax's eps, which would damp them away.
    return optax.rmsprop(learning_rate, eps_in_sqrt=False, bias_correction=True)


def d_optimizer(hparams: TrainingHParams) -> optax.GradientTransformation:
    """The critic's."""
    return _rmsprop(hparams.d_learning_rate)


def g_optimizer(hparams: TrainingHParams) -> optax.GradientTransformation:
    """The generator's, which must not run away from its critic: like that one's."""
    clip = optax.clip_by_global_norm(hparams.g_clip_norm)
    return optax.chain(clip, _rmsprop(hparams.critic_g_learning_rate))


# (state, real sequences, *, language_model, classifier, hparams) -> (state, metrics)
generator_step = functools.partial(critic.generator_step, optimizer_of=g_optimizer)


def discriminator_step(
    state: TrainState,
    batch: LabelledBatch,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """One step of the critic, and its weights back into the box (arXiv 1701.07875, Alg. 1).

    Args:
      state: the training state.
      batch: real and generated sequences `[B, T]` with labels `[B]`, in any order and number.
      language_model: the generator, whose softmax outputs stand for the generated rows.
      classifier: the critic; dropout is off.
      hparams: `d_learning_rate` of RMSProp; `d_weight_clip`, the box's half side.

    Returns:
      The next state, and scalars: `d_loss` (mean f of generated less mean f of real sequences) and
      `d_grad_norm`.
    """
    real, fake = critic.inputs_of(state, batch, language_model)
    inputs = jnp.where((batch.labels > 0.5)[:, None, None], real, fake)

    def loss_of(params: Params) -> tuple[Array, Metrics]:
        loss = critic.distance_loss(
            critic.score(classifier, params, inputs, batch.mask), batch.labels
        )
        return loss, {"d_loss": loss}

    state, metrics = descent.discriminator(state, loss_of, d_optimizer(hparams))
    bound = hparams.d_weight_clip
    clipped = jax.tree.map(lambda leaf: jnp.clip(leaf, -bound, bound), state.discriminator)
    return dataclasses.replace(state, discriminator=clipped), metrics


def wgan(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """The method's functions, bound to their models and settings; `train` is not asked for.

    Raises:
      ValueError: as `through_discriminator.bind`.
    """
    del train
    return through_discriminator.bind(
        language_model, classifier, hparams,
        generator_step=generator_step, discriminator_step=discriminator_step,
        g_optimizer=g_optimizer(hparams), d_optimizer=d_optimizer(hparams),
    )._replace(is_verdict=False)  # fmt: skip
