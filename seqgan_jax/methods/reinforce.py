"""REINFORCE: one reward for the whole sequence, no search (github.com/suragnair/seqGAN).

The policy gradient of arXiv 1609.05473, Eq. 6, with the plainest action value there is: what the
finished sequence earned, for each of its tokens (Williams 1992). Its expectation is SeqGAN's where
the rollout policy is the generator itself; a sequence costs T draws instead of N T (T - 1) / 2, and
its gradient is noisier.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import policy_gradient
from seqgan_jax.methods.method import Method, draws_batch, same_state
from seqgan_jax.methods.seqgan import reward_of, seqgan
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.rewards import scores
from seqgan_jax.types import LanguageModel, Metrics, Reward, Samples, SequenceClassifier


def generator_step(
    state: TrainState,
    batch: Samples,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    reward: Reward | None = None,
) -> tuple[TrainState, Metrics]:
    """One g-step: draw sequences, judge each as a whole, and follow the policy gradient.

    Args:
      state: the training state.
      batch: real sequences `[B, T]`, of which only the shape counts: how many to draw, how long.
      language_model: the generator.
      classifier: the discriminator.
      hparams: optimiser, reward and baseline; any but `prefix`.
      reward: scores finished sequences in place of the reward that `hparams.reward` names.

    Returns:
      The next state, and the scalars of `policy_gradient.follow`.
    """
    reward = reward or reward_of(
        state, language_model=language_model, classifier=classifier, hparams=hparams
    )
    drawn = policy_gradient.draw(state, batch, language_model)
    rewards = scores(reward, drawn.tokens, drawn.mask)
    values = jnp.broadcast_to(rewards[:, None], drawn.tokens.shape)
    weights = policy_gradient.advantages(state, values, drawn.mask, hparams=hparams)
    return policy_gradient.follow(
        state, drawn, rewards, weights, language_model=language_model, hparams=hparams
    )


def reinforce(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """REINFORCE's functions: SeqGAN's, but for the generator's step; there is no rollout policy.

    Raises:
      ValueError: the baseline `prefix`, or the settings ask for what the models do not give.
    """
    if hparams.baseline == "prefix":
        raise ValueError(
            "training.baseline='prefix': without search no prefix has a value of its own, and "
            "nothing would be left to learn from but the first token; give leave_one_out, "
            "batch_mean, moving_average or none"
        )
    return seqgan(language_model, classifier, hparams, train)._replace(
        generator_step=functools.partial(
            generator_step, language_model=language_model, classifier=classifier, hparams=hparams
        ),
        end_round=same_state,
        drawn=draws_batch,
    )
