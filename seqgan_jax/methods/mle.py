"""Maximum likelihood: the paper's pre-training (arXiv 1609.05473, Alg. 1), and its baseline."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.losses import mle_loss
from seqgan_jax.methods import adversary, optimizers
from seqgan_jax.methods.method import Method, draws_nothing
from seqgan_jax.methods.state import TrainState, init_state
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.types import Array, LanguageModel, Metrics, Params, Samples, SequenceClassifier


def pretrain_generator_step(
    state: TrainState,
    batch: Samples,
    *,
    language_model: LanguageModel,
    hparams: TrainingHParams,
    inputs: Array | None = None,
) -> tuple[TrainState, Metrics]:
    """One step of maximum likelihood; the rollout policy follows (beta <- theta).

    Args:
      state: the training state.
      batch: real sequences, tokens and mask `[B, T]`.
      language_model: the generator.
      hparams: the optimiser's settings.
      inputs: what is fed to predict each token, `[B, T]`; by default the real token before it.

    Returns:
      The next state, and the scalars `mle_loss` (nats per token, with dropout on, if there is any)
      and `mle_grad_norm` (before clipping).
    """

    def loss_of(params: Params) -> Array:
        rate = hparams.mle_dropout_rate
        key = state.subkey("mle_dropout") if rate > 0.0 else None
        log_likelihood = log_probs(
            language_model, params, batch.tokens, rate, key, batch.mask, inputs
        )
        return mle_loss(log_likelihood, batch.mask)

    loss, grads = jax.value_and_grad(loss_of)(state.generator)
    updates, opt_state = optimizers.mle(hparams).update(grads, state.mle_opt_state, state.generator)
    generator = optax.apply_updates(state.generator, updates)
    state = dataclasses.replace(
        state,
        step=state.step + 1,
        generator=generator,
        rollout=jax.tree.map(jnp.copy, generator),
        mle_opt_state=opt_state,
    )
    return state, {"mle_loss": loss, "mle_grad_norm": optax.tree.norm(grads)}


def check_dropout(language_model: LanguageModel, hparams: TrainingHParams) -> None:
    """Refuses dropout of a model that has no features to drop.

    Raises:
      ValueError: `mle_dropout_rate` is above 0, and the model gives no `features` and `output`.
    """
    if hparams.mle_dropout_rate > 0.0 and language_model.features is None:
        raise ValueError(
            f"mle_dropout_rate={hparams.mle_dropout_rate}: the language model gives no `features` "
            "and `output` to drop from; give 0"
        )


def mle(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """Maximum likelihood as a method: its rounds go on as its pre-training began.

    Dropout, weight decay and, by the loop, early stopping (`schedule.g_patience`) make it as
    strong as it can be.

    Raises:
      ValueError: dropout, of a model without `features` and `output`.
    """
    del train
    check_dropout(language_model, hparams)
    step = functools.partial(
        pretrain_generator_step, language_model=language_model, hparams=hparams
    )
    players: dict[str, Any] = {
        "language_model": language_model, "classifier": classifier, "hparams": hparams
    }  # fmt: skip
    return Method(
        init_state=functools.partial(init_state, **players),
        pretrain_generator_step=step,
        generator_step=step,
        discriminator_step=functools.partial(adversary.discriminator_step, **players),
        uses_discriminator=False,
        drawn=draws_nothing,
    )
