"""Maximum likelihood: the paper's pre-training of the generator (arXiv 1609.05473, Alg. 1)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.losses import mle_loss
from seqgan_jax.methods import optimizers
from seqgan_jax.methods.state import TrainState
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.types import LanguageModel, Metrics, Params, Samples


def pretrain_generator_step(
    state: TrainState, batch: Samples, *, language_model: LanguageModel, hparams: TrainingHParams
) -> tuple[TrainState, Metrics]:
    """One step of maximum likelihood; the rollout policy follows (beta <- theta).

    Args:
      state: the training state.
      batch: real sequences, tokens and mask `[B, T]`.
      language_model: the generator.
      hparams: the optimiser's settings.

    Returns:
      The next state, and the scalars `mle_loss` (nats per token, with dropout on, if there is any)
      and `mle_grad_norm` (before clipping).
    """

    def loss_of(params: Params) -> jax.Array:
        rate = hparams.mle_dropout_rate
        key = state.subkey("mle_dropout") if rate > 0.0 else None
        log_likelihood = log_probs(language_model, params, batch.tokens, rate, key, batch.mask)
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
