"""Metrics on token ids, usable without the trainer."""

from seqgan_jax.metrics.bleu_score import BleuReferences, backward_bleu, bleu, self_bleu
from seqgan_jax.metrics.distance import jensen_shannon_divergence, length_distance
from seqgan_jax.metrics.diversity import (
    CopiedFraction,
    copied_sequences,
    distinct_fraction,
    distinct_n,
    duplicate_rate,
    unique_ngrams,
)
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.metrics.lm_score import language_model_score, mean_nll
from seqgan_jax.metrics.pitch import nearest_pitch_mse, pitch_mse
from seqgan_jax.metrics.scorer import Scorer, words

__all__ = [
    "BleuReferences",
    "CopiedFraction",
    "Scorer",
    "backward_bleu",
    "bleu",
    "copied_sequences",
    "distinct_fraction",
    "distinct_n",
    "duplicate_rate",
    "jensen_shannon_divergence",
    "language_model_score",
    "length_distance",
    "mean_nll",
    "nearest_pitch_mse",
    "negative_log_likelihood",
    "pitch_mse",
    "self_bleu",
    "unique_ngrams",
    "words",
]
