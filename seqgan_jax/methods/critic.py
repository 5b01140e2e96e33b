"""What the methods with a critic share: its score, and the generator's step up it.

The critic f is the discriminator's logit as it stands: no sigmoid, no dropout, no penalty of Eq. 5.
What it gets of a real sequence are one-hots; of a generated one, the generator's softmax at each
position, given the tokens that it drew before.

The data are no fixed point of it, since softmax outputs are not draws. Of one position and two
tokens, real ones being the first with probability r, the critic sees one point (p, 1 - p), at a
distance of sqrt(2) (r (1 - p) + (1 - r) p) from the one-hots: the least is at p = 0 or 1, not r.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import optax

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods import descent, policy_gradient
from seqgan_jax.methods.state import TrainState
from seqgan_jax.search.relaxed import one_hots, softmax_outputs
from seqgan_jax.types import (
    Array,
    LabelledBatch,
    LanguageModel,
    Metrics,
    Params,
    Samples,
    SequenceClassifier,
)


def score(classifier: SequenceClassifier, params: Params, inputs: Array, mask: Array) -> Array:
    """The critic's f `[B]` of distributions `[B, T, V]` and their mask `[B, T]`."""
    return classifier.apply(params, classifier.embed(params, inputs), mask, None)


def inputs_of(
    state: TrainState, batch: LabelledBatch, language_model: LanguageModel
) -> tuple[Array, Array]:
    """What the critic gets: one-hots, and the generator's softmax outputs along each row.

    Returns:
      Both of every row, real and generated, `[B, T, V]` each; zeros behind the row's end.
    """
    real = one_hots(batch.tokens, batch.mask, language_model.vocab_size)
    return real, softmax_outputs(language_model, state.generator, batch.tokens, batch.mask)


def distance_loss(scores: Array, labels: Array) -> Array:
    """Mean f of generated sequences less mean f of real ones (arXiv 1701.07875, Eq. 2).

    Args:
      scores: f. `[B]`.
      labels: 1 for real, 0 for generated. `[B]`.

    Returns:
      Scalar, minus the estimated distance. A kind of which there is none counts as 0.
    """

    def mean(weights: Array) -> Array:
        return (weights * scores).sum() / jnp.maximum(weights.sum(), 1.0)

    return mean(1.0 - labels) - mean(labels)


def generator_step(
    state: TrainState,
    batch: Samples,
    *,
    language_model: LanguageModel,
    classifier: SequenceClassifier,
    hparams: TrainingHParams,
    optimizer_of: Callable[[TrainingHParams], optax.GradientTransformation],
) -> tuple[TrainState, Metrics]:
    """One step up the critic's mean f of softmax outputs along sequences just drawn.

    The gradient flows through the softmax outputs alone. What was drawn is held fixed, though its
    distribution depends on the parameters too: the gradient is not that of the mean f.

    Args:
      state: the training state.
      batch: real sequences `[B, T]`, of which only the shape counts: how many to draw, how long.
      language_model: the generator.
      classifier: the critic; dropout is off.
      hparams: the optimiser's settings.
      optimizer_of: makes the generator's optimiser of them.

    Returns:
      The next state, and scalars: `g_loss` (minus the mean f), `g_grad_norm` (before clipping),
      `reward_mean` and `reward_std` (of f).
    """
    drawn = policy_gradient.draw(state, batch, language_model)

    def loss_of(params: Params) -> tuple[Array, Metrics]:
        outputs = softmax_outputs(language_model, params, drawn.tokens, drawn.mask)
        scores = score(classifier, state.discriminator, outputs, drawn.mask)
        return -scores.mean(), {"reward_mean": scores.mean(), "reward_std": scores.std()}

    return descent.generator(state, loss_of, optimizer_of(hparams))
