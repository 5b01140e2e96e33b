"""Scheduled sampling, the paper's baseline (Bengio et al. 2015, arXiv 1506.03099).

Maximum likelihood whose model sees, in place of some of the true tokens before, tokens that it drew
itself: a coin for each token of each sequence. The code published with SeqGAN draws its coin once,
when its graph is built, and so is plain maximum likelihood.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import mle, optimizers
from seqgan_jax.methods.method import Drawn, Method
from seqgan_jax.methods.state import TrainState
from seqgan_jax.models.teacher_forcing import shifted_inputs
from seqgan_jax.search.drawing import next_token
from seqgan_jax.types import (
    Array,
    LanguageModel,
    Metrics,
    ModelState,
    Params,
    Samples,
    SequenceClassifier,
)


def true_rate(updates: Array, hparams: TrainingHParams) -> Array:
    """The share of true tokens, epsilon, after so many updates (arXiv 1506.03099, 2.4).

    With fall f and least l: linear max(l, 1 - f i); exponential max(l, (1 - f)^i); inverse_sigmoid
    max(l, k / (k + exp(i / k))), k = 1 / f. A fall of 0 leaves all at 1.

    Args:
      updates: i, the updates by maximum likelihood that led to this generator. Scalar, an integer.
      hparams: `sampling_schedule`, `sampling_fall` and `sampling_least`.

    Returns:
      Scalar float32 in [0, 1].
    """
    fall, count = hparams.sampling_fall, jnp.asarray(updates, jnp.float32)
    if hparams.sampling_schedule == "exponential":
        rate = jnp.exp(count * math.log1p(-fall))
    elif hparams.sampling_schedule == "inverse_sigmoid" and fall > 0.0:
        # The same as a sigmoid, which does not overflow.
        rate = jax.nn.sigmoid(-math.log(fall) - fall * count)
    else:
        rate = 1.0 - fall * count
    return jnp.maximum(rate, hparams.sampling_least)


def mixed_inputs(
    language_model: LanguageModel,
    params: Params,
    batch: Samples,
    rate: Array,
    coin_key: Array,
    draw_key: Array,
) -> Array:
    """What is fed to predict each token: the true token before it, or one that the model draws.

    A draw is from the model's distribution given its own inputs so far; a drawn end token is fed
    like any other, and the true sequence goes on.

    Args:
      language_model: the model.
      params: its parameters.
      batch: real sequences, tokens and mask `[B, T]`.
      rate: share of true tokens. Scalar.
      coin_key: a random key for the choice, consumed.
      draw_key: a random key for the draws, consumed.

    Returns:
      `[B, T]` int32: first the start token; the true tokens behind an end. Being integers, draws
      pass no gradient on.
    """
    batch_size, length = batch.tokens.shape
    truth = shifted_inputs(language_model, batch.tokens).T  # [T, B]
    is_true = jax.random.uniform(coin_key, (length - 1, batch_size)) < rate
    uniforms = jax.random.uniform(draw_key, (length - 1, batch_size))
    draw = next_token(language_model, params)

    def step(
        carry: tuple[ModelState, Array], inputs: tuple[Array, Array, Array, Array]
    ) -> tuple[tuple[ModelState, Array], Array]:
        (state, token), (uniform, true_token, keep, alive) = carry, inputs
        state, drawn = draw(state, token, uniform, alive)
        token = jnp.where(keep | ~alive, true_token, drawn)
        return (state, token), token

    carry = (language_model.initial_state(params, batch_size), truth[0])
    _, later = jax.lax.scan(step, carry, (uniforms, truth[1:], is_true, batch.mask.T[1:]))
    return jnp.concatenate([truth[:1], later]).T


def step(
    state: TrainState, batch: Samples, *, language_model: LanguageModel, hparams: TrainingHParams
) -> tuple[TrainState, Metrics]:
    """One step of maximum likelihood of the true tokens given mixed inputs.

    Args:
      state: the training state; its optimiser's count of updates sets the rate, and goes back with
        the generator where early stopping does.
      batch: real sequences, tokens and mask `[B, T]`.
      language_model: the generator.
      hparams: the schedule, and the optimiser's settings.

    Returns:
      The next state; the scalars of `mle.pretrain_generator_step`, of which `mle_loss` is of mixed
      inputs; and `true_rate`, epsilon of this step.
    """
    rate = true_rate(optimizers.updates_of(state.mle_opt_state), hparams)
    inputs = mixed_inputs(
        language_model, state.generator, batch, rate, state.subkey("true_or_drawn"),
        state.subkey("scheduled_draw"),
    )  # fmt: skip
    state, metrics = mle.pretrain_generator_step(
        state, batch, language_model=language_model, hparams=hparams, inputs=inputs
    )
    return state, {**metrics, "true_rate": rate}


def draws_inputs(batch_size: int, length: int) -> Drawn:
    """What a step draws: a token for every position but the last, and no finished sequence."""
    return Drawn(0, batch_size * (length - 1))


def scheduled_sampling(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """The method's functions: those of maximum likelihood, with mixed inputs in both phases.

    Raises:
      ValueError: dropout, of a model without `features` and `output`.
    """
    bound = functools.partial(step, language_model=language_model, hparams=hparams)
    return mle.mle(language_model, classifier, hparams, train)._replace(
        pretrain_generator_step=bound, generator_step=bound,
        drawn=draws_inputs, drawn_to_pretrain=draws_inputs,
    )  # fmt: skip
