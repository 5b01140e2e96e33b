"""SeqGAN: policy gradient with Monte Carlo search (arXiv 1609.05473, Alg. 1)."""

from __future__ import annotations

import functools

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import adversary, mle, policy_gradient
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.state import TrainState, init_state
from seqgan_jax.search.likelihood_ratio import likelihood_ratio_reward, verdict_reward
from seqgan_jax.types import LanguageModel, Metrics, Reward, Samples, SequenceClassifier


def reward_of(
    state: TrainState,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
) -> Reward:
    """The reward that `hparams.reward` names, with this state's discriminator."""
    if hparams.reward == "likelihood_ratio":
        return likelihood_ratio_reward(
            classifier, state.discriminator, language_model, state.generator,
            entropy=hparams.reward_entropy, min_nll=hparams.reward_min_nll,
            per_token=hparams.reward_per_token,
        )  # fmt: skip
    return verdict_reward(
        classifier, state.discriminator, language_model, state.generator, hparams.reward
    )


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
      The next state, and scalars: `g_loss` (the surrogate's value), `g_grad_norm` (before
      clipping), `reward_mean` and `reward_std` of finished sequences, and `advantage_std`.
    """
    reward = reward or reward_of(
        state, language_model=language_model, classifier=classifier, hparams=hparams
    )
    return policy_gradient.searched_step(
        state, batch, reward, language_model=language_model, hparams=hparams
    )


def check_reward(classifier: SequenceClassifier, hparams: TrainingHParams) -> None:
    """Refuses a reward that the discriminator cannot give.

    Raises:
      ValueError: a likelihood ratio, of a discriminator that is no density.
    """
    if hparams.reward == "likelihood_ratio" and not classifier.is_density:
        raise ValueError("reward='likelihood_ratio': the classifier is no density")


def seqgan(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """SeqGAN's functions, bound to their models and settings; `train` is not asked for.

    Raises:
      ValueError: the settings ask for what the models do not give.
    """
    del train
    check_reward(classifier, hparams)
    mle.check_dropout(language_model, hparams)
    return Method(
        init_state=functools.partial(
            init_state, language_model=language_model, classifier=classifier, hparams=hparams
        ),
        pretrain_generator_step=functools.partial(
            mle.pretrain_generator_step, language_model=language_model, hparams=hparams
        ),
        generator_step=functools.partial(
            generator_step, language_model=language_model, classifier=classifier, hparams=hparams
        ),
        discriminator_step=functools.partial(
            adversary.discriminator_step,
            language_model=language_model, classifier=classifier, hparams=hparams,
        ),
        end_round=functools.partial(policy_gradient.update_rollout_policy, hparams=hparams),
        drawn=policy_gradient.searches(hparams.num_rollouts),
    )  # fmt: skip
