"""SeqGAN: policy gradient with Monte Carlo search (arXiv 1609.05473, Alg. 1)."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.losses import discriminator_loss, policy_gradient_loss
from seqgan_jax.methods import baselines, optimizers
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.mle import pretrain_generator_step
from seqgan_jax.methods.state import TrainState, init_state
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.likelihood_ratio import against_generator, likelihood_ratio_reward
from seqgan_jax.search.rewards import constant_reward, discriminator_reward, random_reward
from seqgan_jax.search.rollout import action_values
from seqgan_jax.search.sampling import sample
from seqgan_jax.types import (
    Array,
    LabelledBatch,
    LanguageModel,
    Metrics,
    Params,
    Reward,
    Samples,
    SequenceClassifier,
)


def reward_of(
    state: TrainState,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
) -> Reward:
    """The reward that `hparams.reward` names, with this state's discriminator."""
    if hparams.reward == "constant":
        return constant_reward()
    if hparams.reward == "random":
        return random_reward(state.subkey("reward"))
    if hparams.reward == "likelihood_ratio":
        return likelihood_ratio_reward(
            classifier, state.discriminator, language_model, state.generator,
            entropy=hparams.reward_entropy, min_nll=hparams.reward_min_nll,
            per_token=hparams.reward_per_token,
        )  # fmt: skip
    judge = against_generator(classifier, language_model, state.generator)
    return discriminator_reward(judge, state.discriminator, hparams.reward)


def advantages(state: TrainState, values: Array, mask: Array, *, hparams: TrainingHParams) -> Array:
    """Action values `[B, T]` less the baseline that `hparams.baseline` names."""
    if hparams.baseline == "batch_mean":
        return values - baselines.batch_mean(values, mask)
    if hparams.baseline == "leave_one_out":
        return values - baselines.leave_one_out(values, mask)
    if hparams.baseline == "prefix":
        return values - baselines.prefix(values, mask)
    if hparams.baseline == "moving_average":
        return values - jnp.where(jnp.isnan(state.baseline), 0.0, state.baseline)
    return values


def generator_step(
    state: TrainState,
    batch: Samples,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    reward: Reward | None = None,
) -> tuple[TrainState, Metrics]:
    """One g-step: draw sequences, search, and follow the policy gradient (Eq. 8).

    Args:
      state: the training state.
      batch: real sequences `[B, T]`, of which only the shape counts: how many to draw, how long.
      language_model: the generator, and the rollout policy.
      classifier: the discriminator.
      hparams: optimiser, reward, baseline and rollouts.
      reward: scores finished sequences in place of the reward that `hparams.reward` names.

    Returns:
      The next state, and scalars: `g_loss`; `g_grad_norm`, before clipping; `reward_mean` and
      `reward_std` of finished sequences; `advantage_std` over real positions.
    """
    batch_size, length = batch.tokens.shape
    drawn = sample(
        language_model, state.generator, state.subkey("sample"),
        batch_size=batch_size, length=length,
    )  # fmt: skip
    reward = reward or reward_of(
        state, language_model=language_model, classifier=classifier, hparams=hparams
    )
    values = action_values(
        language_model, state.rollout, reward, drawn.tokens, state.subkey("rollout"),
        num_rollouts=hparams.num_rollouts, chunk_size=hparams.rollout_chunk,
    )  # fmt: skip
    advantage = advantages(state, values, drawn.mask, hparams=hparams)

    def loss_of(params: Params) -> Array:
        log_likelihood = log_probs(language_model, params, drawn.tokens, mask=drawn.mask)
        return policy_gradient_loss(log_likelihood, advantage, drawn.mask)

    loss, grads = jax.value_and_grad(loss_of)(state.generator)
    optimizer = optimizers.generator(hparams)
    updates, opt_state = optimizer.update(grads, state.g_opt_state, state.generator)
    rewards = values[:, -1]
    metrics = {
        "g_loss": loss,
        "g_grad_norm": optax.tree.norm(grads),
        "reward_mean": rewards.mean(),
        "reward_std": rewards.std(),
        "advantage_std": jnp.std(advantage, where=drawn.mask),
    }
    baseline = baselines.update_moving_average(state.baseline, rewards, hparams.baseline_decay)
    return dataclasses.replace(
        state,
        step=state.step + 1,
        generator=optax.apply_updates(state.generator, updates),
        g_opt_state=opt_state,
        baseline=baseline,
    ), metrics


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
      batch: real and generated sequences `[B, T]` with labels `[B]`.
      language_model: the generator; only a discriminator that is a density asks for its likelihood.
      classifier: the discriminator.
      hparams: optimiser and L2 weight.

    Returns:
      The next state, and scalars: `d_loss` without the penalty, `d_accuracy` with dropout on, and
      `d_grad_norm`.
    """

    judge = against_generator(classifier, language_model, state.generator)

    def loss_of(params: Params) -> tuple[Array, tuple[Array, Array]]:
        embedded = judge.embed(params, batch.tokens)
        logits = judge.apply(params, embedded, batch.mask, state.subkey("dropout"))
        loss = discriminator_loss(logits, batch.labels)
        return loss + hparams.d_l2 * classifier.penalty(params), (loss, logits)

    grads, (loss, logits) = jax.grad(loss_of, has_aux=True)(state.discriminator)
    optimizer = optimizers.discriminator(hparams)
    updates, opt_state = optimizer.update(grads, state.d_opt_state, state.discriminator)
    state = dataclasses.replace(
        state,
        step=state.step + 1,
        discriminator=optax.apply_updates(state.discriminator, updates),
        d_opt_state=opt_state,
    )
    accuracy = jnp.mean((logits > 0) == (batch.labels > 0.5))
    return state, {"d_loss": loss, "d_accuracy": accuracy, "d_grad_norm": optax.tree.norm(grads)}


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


def seqgan(
    language_model: LanguageModel, classifier: SequenceClassifier, hparams: TrainingHParams
) -> Method:
    """SeqGAN's functions, bound to their models and settings.

    Raises:
      ValueError: the settings ask for what the models do not give.
    """
    if hparams.reward == "likelihood_ratio" and not classifier.is_density:
        raise ValueError("reward='likelihood_ratio': the classifier is no density")
    if hparams.mle_dropout_rate > 0.0 and language_model.features is None:
        raise ValueError(
            f"mle_dropout_rate={hparams.mle_dropout_rate}: the language model gives no `features` "
            "and `output` to drop from; give 0"
        )
    players: dict[str, Any] = {
        "language_model": language_model, "classifier": classifier, "hparams": hparams
    }  # fmt: skip
    return Method(
        init_state=functools.partial(init_state, **players),
        pretrain_generator_step=functools.partial(
            pretrain_generator_step, language_model=language_model, hparams=hparams
        ),
        generator_step=functools.partial(generator_step, **players),
        discriminator_step=functools.partial(discriminator_step, **players),
        end_round=functools.partial(update_rollout_policy, hparams=hparams),
    )
