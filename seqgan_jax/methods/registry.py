"""Methods by the name that a config selects them with."""

from __future__ import annotations

from collections.abc import Callable

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.seqgan import seqgan
from seqgan_jax.types import LanguageModel, SequenceClassifier

METHODS: dict[str, Callable[[LanguageModel, SequenceClassifier, TrainingHParams], Method]] = {
    "seqgan": seqgan,
}
