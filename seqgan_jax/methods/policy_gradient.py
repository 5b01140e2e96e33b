"""What the methods of policy gradient share: draw sequences, weigh them, follow the gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.losses import policy_gradient_loss
from seqgan_jax.methods import baselines, descent, optimizers
from seqgan_jax.methods.method import Drawn
from seqgan_jax.methods.state import TrainState
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.rollout import action_values
from seqgan_jax.search.sampling import sample
from seqgan_jax.types import Array, LanguageModel, Metrics, Params, Reward, Samples


def advantages(state: TrainState, values: Array, mask: Array, *, hparams: TrainingHParams) -> Array:
    """Action values `[B, T]` less the baseline that `hparams.baseline` names."""
    if hparams.baseline == "batch_mean":
        return values - baselines.batch_mean(values, mask)
    if hparams.baseline == "leave_one_out":
        return values - baselines.leave_one_out(values, mask)
    if hparams.baseline == "prefix":
        return values - baselines.prefix(values, mask)
    if hparams.baseline == "moving_average":
        return values - jnp.where(jnp.isfinite(state.baseline), state.baseline, 0.0)
    return values


def draw(state: TrainState, batch: Samples, language_model: LanguageModel) -> Samples:
    """As many sequences as the batch has, of its length, from the generator; no gradient flows."""
    batch_size, length = batch.tokens.shape
    return sample(
        language_model, state.generator, state.subkey("sample"),
        batch_size=batch_size, length=length,
    )  # fmt: skip


def follow(
    state: TrainState,
    drawn: Samples,
    rewards: Array,
    weights: Array,
    *,
    language_model: LanguageModel,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """One update along sum_t weight_t grad log G(y_t | Y_1:t-1) (arXiv 1609.05473, Eq. 8).

    Args:
      state: the training state.
      drawn: sequences of its generator `[B, T]`.
      rewards: of the finished sequences, `[B]`; told of, and kept for the moving average.
      weights: of each token: its action value, less a baseline or not. `[B, T]`.
      language_model: the generator.
      hparams: its optimiser.

    Returns:
      The next state, and scalars: `g_loss` (the surrogate's value), `g_grad_norm` (before
      clipping), `reward_mean`, `reward_std` and `advantage_std`.
    """

    def loss_of(params: Params) -> tuple[Array, Metrics]:
        log_likelihood = log_probs(language_model, params, drawn.tokens, mask=drawn.mask)
        return policy_gradient_loss(log_likelihood, weights, drawn.mask), {}

    average = baselines.update_moving_average(state.baseline, rewards, hparams.baseline_decay)
    state, metrics = descent.generator(state, loss_of, optimizers.generator(hparams))
    return dataclasses.replace(state, baseline=average), {
        **metrics,
        "reward_mean": rewards.mean(),
        "reward_std": rewards.std(),
        "advantage_std": jnp.std(weights, where=drawn.mask),
    }


def searched_step(
    state: TrainState,
    batch: Samples,
    reward: Reward,
    *,
    language_model: LanguageModel,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """One step by Monte Carlo search: the mean reward of completions weighs each token (Eq. 4).

    Arguments and result as of `follow`; of the real sequences `batch` only the shape counts.
    """
    drawn = draw(state, batch, language_model)
    values = action_values(
        language_model, state.rollout, reward, drawn.tokens, state.subkey("rollout"),
        num_rollouts=hparams.num_rollouts, chunk_size=hparams.rollout_chunk,
    )  # fmt: skip
    weights = advantages(state, values, drawn.mask, hparams=hparams)
    return follow(
        state, drawn, values[:, -1], weights, language_model=language_model, hparams=hparams
    )


def searches(num_rollouts: int) -> Callable[[int, int], Drawn]:
    """What `searched_step` draws: the batch, and N completions of each prefix 1..T-1."""

    def drawn(batch_size: int, length: int) -> Drawn:
        return Drawn(
            batch_size * (1 + num_rollouts * (length - 1)),
            batch_size * (length + num_rollouts * length * (length - 1) // 2),
        )

    return drawn


def update_rollout_policy(state: TrainState, *, hparams: TrainingHParams) -> TrainState:
    """Brings the rollout policy beta up to the generator theta, once a round (Alg. 1).

    `copy` sets beta to theta, as the paper; `moving_average` keeps `rollout_update_rate` of the
    old beta, what the original code meant to do; `frozen` leaves beta where pre-training ended.
    """
    if hparams.rollout_policy == "frozen":
        return state
    if hparams.rollout_policy == "copy":
        return dataclasses.replace(state, rollout=jax.tree.map(jnp.copy, state.generator))
    rate = hparams.rollout_update_rate
    rollout = jax.tree.map(
        lambda beta, theta: rate * beta + (1.0 - rate) * theta, state.rollout, state.generator
    )
    return dataclasses.replace(state, rollout=rollout)
