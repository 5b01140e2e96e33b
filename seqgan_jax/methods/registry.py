"""Methods by the name that a config selects them with."""

from __future__ import annotations

from collections.abc import Callable

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods.constant_reward import constant_reward
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.mle import mle
from seqgan_jax.methods.random_reward import random_reward
from seqgan_jax.methods.seqgan import seqgan
from seqgan_jax.types import LanguageModel, Samples, SequenceClassifier

# Makes a method of a generator, a discriminator, settings, and the training sequences, which are
# None where nothing is to be trained.
Maker = Callable[[LanguageModel, SequenceClassifier, TrainingHParams, Samples | None], Method]

METHODS: dict[str, Maker] = {
    "constant_reward": constant_reward,
    "mle": mle,
    "random_reward": random_reward,
    "seqgan": seqgan,
}
