"""Gumbel-softmax: the discriminator's gradient through relaxed samples, without rewards.

The estimator is Jang et al.'s (arXiv 1611.01144), the GAN of sequences with it Kusner and
Hernandez-Lobato's (arXiv 1611.04051).

Relaxed samples are told from one-hots by their softness alone, and all that a generator can do
about it is to become sharper. On the tests' toy target, whose distance is 0.77 at the start, 60
rounds lead to 0.9 at temperatures of 1 to 0.5, and to 0.4 at 0.1 or with straight-through samples,
which have no softness.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import adversary, descent, optimizers, through_discriminator
from seqgan_jax.methods.method import Method, draws_batch
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.relaxed import (
    RelaxedSamples,
    one_hots,
    relaxation_temperature,
    relaxed_sample,
)
from seqgan_jax.types import (
    Array,
    LabelledBatch,
    LanguageModel,
    Metrics,
    Params,
    Samples,
    SequenceClassifier,
)


def temperature_of(state: TrainState, hparams: TrainingHParams) -> Array:
    """The temperature after as many generator updates as the state's optimiser has counted."""
    return relaxation_temperature(
        optimizers.updates_of(state.g_opt_state),
        start=hparams.relaxation_temperature,
        least=hparams.relaxation_least,
        fall=hparams.relaxation_fall,
    )


def _draw(
    state: TrainState,
    params: Params,
    batch: Samples | LabelledBatch,
    language_model: LanguageModel,
    hparams: TrainingHParams,
) -> RelaxedSamples:
    """As many relaxed sequences as the batch has, of its length, at the state's temperature."""
    batch_size, length = batch.tokens.shape
    return relaxed_sample(
        language_model, params, state.subkey("relaxed"), batch_size=batch_size, length=length,
        temperature=temperature_of(state, hparams), straight_through=hparams.straight_through,
    )  # fmt: skip


def generator_step(
    state: TrainState,
    batch: Samples,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """One step up log D of relaxed samples, by the gradient through D and the samples.

    Args:
      state: the training state.
      batch: real sequences `[B, T]`, of which only the shape counts: how many to draw, how long.
      language_model: the generator.
      classifier: the discriminator; dropout is off.
      hparams: optimiser and temperature.

    Returns:
      The next state, and scalars: `g_loss` (the mean of -log D, in nats), `g_grad_norm` (before
      clipping), `reward_mean` and `reward_std` (of D), and `relaxation_temperature`.
    """

    def loss_of(params: Params) -> tuple[Array, Metrics]:
        relaxed = _draw(state, params, batch, language_model, hparams)
        embedded = classifier.embed(state.discriminator, relaxed.probs)
        logits = classifier.apply(state.discriminator, embedded, relaxed.mask, None)
        judged = jax.nn.sigmoid(logits)
        metrics = {"reward_mean": judged.mean(), "reward_std": judged.std()}
        return jax.nn.softplus(-logits).mean(), metrics

    temperature = temperature_of(state, hparams)
    state, metrics = descent.generator(state, loss_of, optimizers.generator(hparams))
    return state, {**metrics, "relaxation_temperature": temperature}


def discriminator_step(
    state: TrainState,
    batch: LabelledBatch,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """One step of the discriminator (Eq. 5) on what the generator's gradient flows through.

    In place of each generated row of the batch stands a fresh relaxed sample at the current
    temperature; real rows are one-hots. Straight-through samples are one-hots of exact draws, as
    the batch's own rows are, which are then taken as they stand.

    Arguments and result as of `adversary.discriminator_step`.
    """
    if not hparams.straight_through:
        relaxed = _draw(state, state.generator, batch, language_model, hparams)
        is_real = batch.labels > 0.5
        real = one_hots(batch.tokens, batch.mask, language_model.vocab_size)
        batch = LabelledBatch(
            jnp.where(is_real[:, None, None], real, relaxed.probs),
            jnp.where(is_real[:, None], batch.mask, relaxed.mask),
            batch.labels,
        )
    return adversary.discriminator_step(
        state, batch, language_model=language_model, classifier=classifier, hparams=hparams
    )


def gumbel_softmax(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """The method's functions, bound to their models and settings; `train` is not asked for.

    Raises:
      ValueError: the language model takes no distributions; or as `through_discriminator.bind`.
    """
    del train
    if not language_model.takes_distributions:
        raise ValueError(
            "gumbel_softmax: relaxed tokens are fed back to the language model, whose `step` must "
            "take distributions over the vocabulary (takes_distributions=True)"
        )
    method = through_discriminator.bind(
        language_model, classifier, hparams,
        generator_step=generator_step, discriminator_step=discriminator_step,
    )  # fmt: skip
    return method if hparams.straight_through else method._replace(drawn_to_judge=draws_batch)
