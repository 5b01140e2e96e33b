"""The training state: arrays only."""

from __future__ import annotations

import dataclasses
import zlib

import jax
import jax.numpy as jnp
import optax

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import optimizers
from seqgan_jax.types import Array, LanguageModel, Params, SequenceClassifier


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that training changes, and the key that it draws from.

    Attributes:
      step: steps taken so far, of any kind. Scalar int32.
      key: the run's key; it never changes. A step's randomness is folded from it and `step`.
      generator: theta, the generator's parameters.
      rollout: beta, the rollout policy's parameters.
      discriminator: phi, the discriminator's parameters.
      mle_opt_state: of maximum likelihood, apart from the policy gradient's as in the original.
      g_opt_state: of the policy gradient.
      d_opt_state: of the discriminator.
      baseline: moving average of the reward. Scalar float32; infinite before the first reward.
      best: the best generator of maximum likelihood so far, where that stops early; else None.
    """

    step: Array
    key: Array
    generator: Params
    rollout: Params
    discriminator: Params
    mle_opt_state: Params
    g_opt_state: Params
    d_opt_state: Params
    baseline: Array
    best: Params = None

    def subkey(self, use: str) -> Array:
        """The key of this step for one named use; two uses never share a key."""
        return jax.random.fold_in(jax.random.fold_in(self.key, self.step), zlib.crc32(use.encode()))


def init_state(
    key: Array,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    g_optimizer: optax.GradientTransformation | None = None,
    d_optimizer: optax.GradientTransformation | None = None,
) -> TrainState:
    """A fresh training state.

    Args:
      key: a random key. With a leading axis of keys, under `vmap`, one state a seed.
      language_model: the generator.
      classifier: the discriminator.
      hparams: chooses the optimisers.
      g_optimizer: the generator's after maximum likelihood, in place of the one that `hparams`
        choose.
      d_optimizer: the discriminator's, likewise.

    Returns:
      The state before the first step; the rollout policy is a copy of the generator.
    """
    generator_key, discriminator_key, run_key = jax.random.split(key, 3)
    generator = language_model.init(generator_key)
    discriminator = classifier.init(discriminator_key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=run_key,
        generator=generator,
        # A copy, not an alias: a donated state may not hold one buffer twice.
        rollout=jax.tree.map(jnp.copy, generator),
        discriminator=discriminator,
        mle_opt_state=optimizers.mle(hparams).init(generator),
        g_opt_state=(g_optimizer or optimizers.generator(hparams)).init(generator),
        d_opt_state=(d_optimizer or optimizers.discriminator(hparams)).init(discriminator),
        baseline=jnp.full((), jnp.inf, jnp.float32),  # NaN would stop jax_debug_nans
    )
