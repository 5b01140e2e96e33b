"""The original code's optimisers: Adam, clipped by global norm for the generator."""

from __future__ import annotations

import optax

from seqgan_jax.hparams import TrainingHParams


def mle(hparams: TrainingHParams) -> optax.GradientTransformation:
    """For the generator's maximum likelihood; weight decay is apart from the gradient (AdamW)."""
    clip = optax.clip_by_global_norm(hparams.g_clip_norm)
    if hparams.mle_weight_decay > 0.0:
        decayed = optax.adamw(hparams.mle_learning_rate, weight_decay=hparams.mle_weight_decay)
        return optax.chain(clip, decayed)
    return optax.chain(clip, optax.adam(hparams.mle_learning_rate))


def generator(hparams: TrainingHParams) -> optax.GradientTransformation:
    """For the generator's policy gradient."""
    clip = optax.clip_by_global_norm(hparams.g_clip_norm)
    return optax.chain(clip, optax.adam(hparams.g_learning_rate))


def discriminator(hparams: TrainingHParams) -> optax.GradientTransformation:
    """For the discriminator."""
    return optax.adam(hparams.d_learning_rate)
