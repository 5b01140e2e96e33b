"""The discriminator's step, which every method with a discriminator of Eq. 5 shares."""

from __future__ import annotations

import jax.numpy as jnp

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.losses import discriminator_loss
from seqgan_jax.methods import descent, optimizers
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.likelihood_ratio import against_generator
from seqgan_jax.types import (
    Array,
    LabelledBatch,
    LanguageModel,
    Metrics,
    Params,
    SequenceClassifier,
)


def discriminator_step(
    state: TrainState,
    batch: LabelledBatch,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """One step of the discriminator on labelled sequences (Eq. 5).

    Args:
      state: the training state.
      batch: real and generated sequences `[B, T]` with labels `[B]`. Its tokens may also be
        distributions over the vocabulary, `[B, T, V]`, unless the discriminator is a density.
      language_model: the generator; only a discriminator that is a density asks for its likelihood.
      classifier: the discriminator.
      hparams: optimiser and L2 weight.

    Returns:
      The next state, and scalars: `d_loss` without the penalty, `d_accuracy` with dropout on, and
      `d_grad_norm`.
    """

    judge = against_generator(classifier, language_model, state.generator)

    def loss_of(params: Params) -> tuple[Array, Metrics]:
        embedded = judge.embed(params, batch.tokens)
        logits = judge.apply(params, embedded, batch.mask, state.subkey("dropout"))
        loss = discriminator_loss(logits, batch.labels)
        accuracy = jnp.mean((logits > 0) == (batch.labels > 0.5))
        penalised = loss + hparams.d_l2 * classifier.penalty(params)
        return penalised, {"d_loss": loss, "d_accuracy": accuracy}

    return descent.discriminator(state, loss_of, optimizers.discriminator(hparams))
