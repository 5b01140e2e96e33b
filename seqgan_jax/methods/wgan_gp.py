"""Wasserstein GAN with gradient penalty: as `wgan`, but nothing is clipped.

Gulrajani et al., arXiv 1704.00028: the critic's slope is held near 1 on lines between real and
generated sequences. Updates of the critic per update of the generator: see `wgan`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import optax

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import critic, descent, through_discriminator
from seqgan_jax.methods.method import Method
from seqgan_jax.methods.state import TrainState
from seqgan_jax.types import (
    Array,
    LabelledBatch,
    LanguageModel,
    Metrics,
    Params,
    Samples,
    SequenceClassifier,
)


def gradient_penalty(
    score_of: Callable[[Array], Array], real: Array, fake: Array, eps: Array
) -> Array:
    """`(|grad f(x)| - 1)^2` at `x = eps real + (1 - eps) fake` (arXiv 1704.00028, Eq. 3).

    The norm is that of the whole gradient of a sequence, over positions and vocabulary together: a
    norm for each position would hold each position's slope to 1, and the sequence's to sqrt(T).

    Args:
      score_of: f, `[B, T, V] -> [B]`, each row by itself; differentiable twice.
      real: `[B, T, V]`.
      fake: what each is paired with, `[B, T, V]`.
      eps: in [0, 1], one a pair. `[B]`.

    Returns:
      `[B]`, each at least 0. Where the gradient is 0 it is 1, and no gradient flows from there.
    """
    chex.assert_equal_shape([real, fake])
    chex.assert_shape(eps, real.shape[:1])
    weight = eps[:, None, None]
    slopes = jax.grad(lambda x: score_of(x).sum())(weight * real + (1.0 - weight) * fake)
    squared = jnp.sum(jnp.square(slopes), axis=(1, 2))
    # The root's derivative at 0 is infinite: a critic of dead units must not become NaN.
    is_zero = squared == 0.0
    norms = jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squared)))
    return jnp.square(norms - 1.0)


def partners(labels: Array) -> tuple[Array, Array]:
    """Pairs each real row of a batch with a generated one, in turn.

    Args:
      labels: 1 for real, 0 for generated. `[B]`.

    Returns:
      The partner's row `[B]` int32, of meaning for real rows; and each row's weight `[B]` float32,
      1 for real rows that have a partner, else 0.
    """
    is_real = labels > 0.5
    num_fake = jnp.sum(~is_real)
    fakes_first = jnp.argsort(is_real).astype(jnp.int32)
    rank = jnp.maximum(jnp.cumsum(is_real) - 1, 0)
    partner = fakes_first[rank % jnp.maximum(num_fake, 1)]
    return partner, (is_real & (num_fake > 0)).astype(jnp.float32)


def d_optimizer(hparams: TrainingHParams) -> optax.GradientTransformation:
    """The critic's, with the source's decay rates for sequences."""
    return optax.adam(hparams.d_learning_rate, b1=0.5, b2=0.9)


def g_optimizer(hparams: TrainingHParams) -> optax.GradientTransformation:
    """The generator's, which must not run away from its critic: like that one's."""
    clip = optax.clip_by_global_norm(hparams.g_clip_norm)
    return optax.chain(clip, optax.adam(hparams.critic_g_learning_rate, b1=0.5, b2=0.9))


# (state, real sequences, *, language_model, classifier, hparams) -> (state, metrics)
generator_step = functools.partial(critic.generator_step, optimizer_of=g_optimizer)


def discriminator_step(
    state: TrainState,
    batch: LabelledBatch,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
) -> tuple[TrainState, Metrics]:
    """One step of the critic (arXiv 1704.00028, Alg. 1).

    Args:
      state: the training state.
      batch: real and generated sequences `[B, T]` with labels `[B]`, in any order and number.
      language_model: the generator, whose softmax outputs stand for the generated rows.
      classifier: the critic; dropout is off.
      hparams: `d_learning_rate` of Adam; `gradient_penalty`, the penalty's weight.

    Returns:
      The next state, and scalars: `d_loss` (mean f of generated less mean f of real sequences,
      without the penalty), `d_penalty` (mean over real rows, before its weight) and `d_grad_norm`.
    """
    real, fake = critic.inputs_of(state, batch, language_model)
    inputs = jnp.where((batch.labels > 0.5)[:, None, None], real, fake)
    partner, weights = partners(batch.labels)
    eps = jax.random.uniform(state.subkey("interpolation"), batch.labels.shape)
    both = batch.mask | batch.mask[partner]

    def loss_of(params: Params) -> tuple[Array, Metrics]:
        loss = critic.distance_loss(
            critic.score(classifier, params, inputs, batch.mask), batch.labels
        )
        penalties = gradient_penalty(
            lambda x: critic.score(classifier, params, x, both), real, fake[partner], eps
        )
        penalty = (weights * penalties).sum() / jnp.maximum(weights.sum(), 1.0)
        return loss + hparams.gradient_penalty * penalty, {"d_loss": loss, "d_penalty": penalty}

    return descent.discriminator(state, loss_of, d_optimizer(hparams))


def wgan_gp(
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    train: Samples | None = None,
) -> Method:
    """The method's functions, bound to their models and settings; `train` is not asked for.

    Raises:
      ValueError: as `through_discriminator.bind`.
    """
    del train
    return through_discriminator.bind(
        language_model, classifier, hparams,
        generator_step=generator_step, discriminator_step=discriminator_step,
        g_optimizer=g_optimizer(hparams), d_optimizer=d_optimizer(hparams),
    )._replace(is_verdict=False)  # fmt: skip
