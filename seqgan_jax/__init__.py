"""SeqGAN in JAX: sequence generation by a GAN with policy gradient and Monte Carlo search."""

from seqgan_jax.hparams import FILTERS_20, FILTERS_32, TrainingHParams
from seqgan_jax.losses import discriminator_loss, mle_loss, policy_gradient_loss
from seqgan_jax.methods.adversary import discriminator_step
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.mle import pretrain_generator_step
from seqgan_jax.methods.policy_gradient import update_rollout_policy
from seqgan_jax.methods.registry import METHODS
from seqgan_jax.methods.seqgan import generator_step, seqgan
from seqgan_jax.methods.state import TrainState, init_state
from seqgan_jax.metrics import bleu, self_bleu
from seqgan_jax.models.density import density
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.generator import gru, lstm
from seqgan_jax.models.oracle import Oracle, init_oracle, load_oracle
from seqgan_jax.models.teacher_forcing import log_probs, prefix_states
from seqgan_jax.search.drawing import draw_token
from seqgan_jax.search.likelihood_ratio import likelihood_ratio_reward
from seqgan_jax.search.rewards import constant_reward, discriminator_reward, random_reward
from seqgan_jax.search.rollout import action_values
from seqgan_jax.search.sampling import sample
from seqgan_jax.types import (
    LabelledBatch,
    LanguageModel,
    Reward,
    Samples,
    SequenceClassifier,
    Sequences,
)
from seqgan_jax.version import __version__

__all__ = [
    "FILTERS_20",
    "FILTERS_32",
    "METHODS",
    "LabelledBatch",
    "LanguageModel",
    "Method",
    "Oracle",
    "Reward",
    "Samples",
    "SequenceClassifier",
    "Sequences",
    "TrainState",
    "TrainingHParams",
    "__version__",
    "action_values",
    "bleu",
    "constant_reward",
    "density",
    "discriminator_loss",
    "discriminator_reward",
    "discriminator_step",
    "draw_token",
    "generator_step",
    "gru",
    "init_oracle",
    "init_state",
    "likelihood_ratio_reward",
    "load_oracle",
    "log_probs",
    "lstm",
    "mle_loss",
    "policy_gradient_loss",
    "prefix_states",
    "pretrain_generator_step",
    "random_reward",
    "sample",
    "self_bleu",
    "seqgan",
    "text_cnn",
    "update_rollout_policy",
]
