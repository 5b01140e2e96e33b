"""Scores by a fresh language model: quality of samples, and in reverse their diversity.

A model trained on real sequences finds samples likely that are good, however much alike; one
trained on samples finds held-out real sequences likely if the samples lack nothing. The pair is
that of arXiv 1811.02549, after arXiv 1804.07972. Unlike NLL_test both need samples only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqgan_jax.losses import mle_loss
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.types import Array, LanguageModel, Params, Samples, Sequences

_HELD_OUT = 10  # every tenth sequence says when to stop
_LEAST_STEPS = 50  # an epoch: few sequences are passed over several times
_CLIP_NORM = 5.0  # as in the generator's own maximum likelihood
_JUDGED = 4_096  # sequences judged at a time: bounds memory, not the result


class Fitted(NamedTuple):
    """A language model of maximum likelihood."""

    params: Params
    nll: float  # of the sequences held out to stop by, nats per token
    epochs: int  # that led to it


def fit(
    language_model: LanguageModel,
    samples: Samples | Sequences,
    key: Array,
    *,
    max_epochs: int,
    batch_size: int = 64,
    learning_rate: float = 0.005,
    progress: Callable[[float], None] | None = None,
) -> Fitted:
    """Trains a fresh model by maximum likelihood until a held-out tenth of the sequences says stop.

    Args:
      language_model: the model; its own `init` begins.
      samples: tokens and mask `[B, T]`, B >= 2.
      key: a random key, consumed; all that is random.
      max_epochs: at most; the first that lowers the held-out NLL no more is the last. Each is a
        pass, or as many as make 50 steps.
      batch_size: sequences a step of Adam; lowered to what there are.
      learning_rate: of Adam.
      progress: told the share of `max_epochs` done, 1 at the end.

    Returns:
      The parameters of the lowest held-out NLL.

    Raises:
      ValueError: fewer than two sequences or one epoch.
    """
    number = samples.tokens.shape[0]
    if number < 2 or max_epochs < 1:
        raise ValueError(f"{number} sequences, {max_epochs} epochs: needs at least 2 and 1")
    init_key, split_key, shuffle_key = jax.random.split(key, 3)
    order = np.asarray(jax.random.permutation(split_key, number))
    held = max(1, number // _HELD_OUT)
    host = jax.device_get(samples)
    held_out, train = (
        Samples(*(jnp.asarray(leaf[rows]) for leaf in host))
        for rows in (order[:held], order[held:])
    )
    batch_size = min(batch_size, number - held)
    epoch = functools.partial(
        _epoch, language_model=language_model, batch_size=batch_size,
        num_passes=-(-_LEAST_STEPS // ((number - held) // batch_size)), learning_rate=learning_rate,
    )  # fmt: skip
    params = language_model.init(init_key)
    opt_state = _optimizer(learning_rate).init(params)
    best = Fitted(params, float("inf"), 0)
    for index in range(max_epochs):
        params, opt_state = epoch(params, opt_state, train, jax.random.fold_in(shuffle_key, index))
        nll = mean_nll(language_model, params, held_out)
        if not nll < best.nll:
            break
        best = Fitted(params, nll, index + 1)
        if progress is not None:
            progress((index + 1) / max_epochs)
    if progress is not None:
        progress(1.0)
    return best


def language_model_score(
    language_model: LanguageModel,
    train: Samples | Sequences,
    scored: Samples | Sequences,
    key: Array,
    *,
    max_epochs: int,
    progress: Callable[[float], None] | None = None,
) -> float:
    """NLL of `scored` under a fresh model trained on `train`.

    The LM score trains on real sequences and scores samples (lower: better), the reverse LM score
    trains on samples and scores held-out real sequences (lower: nothing is missing). The reverse
    one falls with the number of samples: compare equal numbers.

    Args:
      language_model: what is trained afresh.
      train: tokens and mask `[B, T]`, B >= 2.
      scored: tokens and mask `[B', T]`.
      key: a random key, consumed.
      max_epochs: as of `fit`, like `progress`.
      progress: as of `fit`.

    Returns:
      Nats per token.
    """
    fitted = fit(language_model, train, key, max_epochs=max_epochs, progress=progress)
    return mean_nll(language_model, fitted.params, scored)


def mean_nll(language_model: LanguageModel, params: Params, samples: Samples | Sequences) -> float:
    """`negative_log_likelihood` of any number of sequences `[B, T]`, some of them at a time."""
    total, count = 0.0, 0
    host = Sequences(*jax.device_get(samples))
    for start in range(0, len(host.tokens), _JUDGED):
        few = Sequences(*(leaf[start : start + _JUDGED] for leaf in host))
        real = int(few.mask.sum())
        total += real * float(_nll(language_model, params, Samples(*map(jnp.asarray, few))))
        count += real
    return total / max(count, 1)


_nll = jax.jit(negative_log_likelihood, static_argnames="language_model")


def _optimizer(learning_rate: float) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(_CLIP_NORM), optax.adam(learning_rate))


@functools.partial(
    jax.jit, static_argnames=("language_model", "batch_size", "num_passes", "learning_rate")
)
def _epoch(
    params: Params,
    opt_state: Params,
    data: Samples,
    key: Array,
    *,
    language_model: LanguageModel,
    batch_size: int,
    num_passes: int,
    learning_rate: float,
) -> tuple[Params, Params]:
    """Passes over shuffled sequences; those left over differ from pass to pass."""

    def step(carry: tuple[Params, Params], rows: Array) -> tuple[tuple[Params, Params], None]:
        params, opt_state = carry

        def loss(params: Params) -> Array:
            tokens, mask = (leaf[rows] for leaf in data)
            return mle_loss(log_probs(language_model, params, tokens, mask=mask), mask)

        updates, opt_state = _optimizer(learning_rate).update(
            jax.grad(loss)(params), opt_state, params
        )
        return (optax.apply_updates(params, updates), opt_state), None

    number = data.tokens.shape[0]
    keys = jax.random.split(key, num_passes)
    orders = jax.vmap(lambda one: jax.random.permutation(one, number))(keys)
    rows = orders[:, : number - number % batch_size].reshape(-1, batch_size)
    return jax.lax.scan(step, (params, opt_state), rows)[0]
