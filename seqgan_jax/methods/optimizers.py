"""The original code's optimisers: Adam, clipped by global norm for the generator."""

from __future__ import annotations

from typing import Any

import optax

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.types import Array, Params


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


def updates_of(opt_state: Params) -> Array:
    """How many updates an optimiser's Adam has counted, a scalar int32."""

    def of_adam(path: tuple[Any, ...], value: Any) -> bool:
        # A parameter may be called `count` too, and then Adam's moments have one.
        del value
        return getattr(path[-1], "tuple_name", None) == "ScaleByAdamState"

    count: Array = optax.tree.get(opt_state, "count", filtering=of_adam)
    return count
