"""Methods by the name that a config selects them with."""

from __future__ import annotations

from collections.abc import Callable

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods.constant_reward import constant_reward
from seqgan_jax.methods.gumbel_softmax import gumbel_softmax
from seqgan_jax.methods.maligan import maligan
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.mle import mle
from seqgan_jax.methods.pg_bleu import pg_bleu
from seqgan_jax.methods.random_reward import random_reward
from seqgan_jax.methods.rankgan import rankgan
from seqgan_jax.methods.reinforce import reinforce
from seqgan_jax.methods.scheduled_sampling import scheduled_sampling
from seqgan_jax.methods.seqgan import seqgan
from seqgan_jax.methods.wgan import wgan
from seqgan_jax.methods.wgan_gp import wgan_gp
from seqgan_jax.types import LanguageModel, Samples, SequenceClassifier

# Makes a method of a generator, a discriminator, settings, and the training sequences, which are
# None where nothing is to be trained.
Maker = Callable[[LanguageModel, SequenceClassifier, TrainingHParams, Samples | None], Method]

METHODS: dict[str, Maker] = {
    "constant_reward": constant_reward,
    "gumbel_softmax": gumbel_softmax,
    "maligan": maligan,
    "mle": mle,
    "pg_bleu": pg_bleu,
    "random_reward": random_reward,
    "rankgan": rankgan,
    "reinforce": reinforce,
    "scheduled_sampling": scheduled_sampling,
    "seqgan": seqgan,
    "wgan": wgan,
    "wgan_gp": wgan_gp,
}
