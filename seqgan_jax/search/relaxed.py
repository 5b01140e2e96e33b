"""Sequences as distributions over the vocabulary, through which a gradient reaches the generator.

Either relaxed draws (arXiv 1611.01144 and 1611.00712), or the softmax along given sequences.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from seqgan_jax.models.linear_output import linear_logits
from seqgan_jax.models.teacher_forcing import shifted_inputs
from seqgan_jax.search.sampling import freeze_after_end
from seqgan_jax.types import Array, LanguageModel, ModelState, Params, mask_until_end


class RelaxedSamples(NamedTuple):
    """Sequences whose tokens are distributions, and the tokens that those peak at."""

    probs: Array  # [B, T, V] float32; zeros behind the end
    tokens: Array  # [B, T] int32; the model's pad_token behind the end
    mask: Array  # [B, T] bool; True up to and including the end token


def relaxed_sample(
    language_model: LanguageModel,
    params: Params,
    key: Array,
    *,
    batch_size: int,
    length: int,
    temperature: float | Array,
    straight_through: bool = False,
) -> RelaxedSamples:
    """Draws sequences by the Gumbel-softmax (arXiv 1611.01144, Eq. 2; arXiv 1611.04051).

    At each position `probs = softmax((logits + Gumbel noise) / temperature)`, the noise on the
    logits. It is fed back to the model in place of a token, so that the gradient runs through all
    later positions too. As the temperature falls, `probs` tends to a one-hot draw of the
    softmax of the logits. Where it peaks is such a draw at any temperature, given what was fed.

    Args:
      language_model: the model; its `step` takes distributions.
      params: its parameters; the result is differentiable in them.
      key: a random key, consumed.
      batch_size: B.
      length: T. A position's draw does not depend on it.
      temperature: above 0.
      straight_through: the forward value is the one-hot of the peak, which is also what is fed
        back; its gradient is that of the relaxed one. The tokens are then distributed exactly as
        those of `sample`.

    Returns:
      The relaxed samples.

    Raises:
      ValueError: the model takes no distributions; or `batch_size`, `length` or `temperature` is
        out of range.
    """
    if not language_model.takes_distributions:
        raise ValueError("relaxed samples are fed back: the model must take distributions")
    if batch_size < 1 or length < 1:
        raise ValueError(f"batch_size={batch_size}, length={length}: both must be at least 1")
    if isinstance(temperature, float | int) and not (
        temperature > 0.0 and math.isfinite(temperature)
    ):
        raise ValueError(f"temperature={temperature}: must be finite and above 0")
    return _relaxed_sample(
        language_model, params, key, temperature, batch_size=batch_size, length=length,
        straight_through=straight_through,
    )  # fmt: skip


@functools.partial(
    jax.jit, static_argnames=("language_model", "batch_size", "length", "straight_through")
)
def _relaxed_sample(
    language_model: LanguageModel,
    params: Params,
    key: Array,
    temperature: float | Array,
    *,
    batch_size: int,
    length: int,
    straight_through: bool,
) -> RelaxedSamples:
    vocab_size = language_model.vocab_size

    def step(
        carry: tuple[ModelState, Array, Array], position: Array
    ) -> tuple[tuple[ModelState, Array, Array], tuple[Array, Array]]:
        state, fed, alive = carry
        state, logits = language_model.step(params, state, fed)
        noise = jax.random.gumbel(jax.random.fold_in(key, position), logits.shape)
        noisy = logits + noise
        probs = jax.nn.softmax(noisy / temperature, axis=-1)
        drawn = jnp.argmax(noisy, axis=-1).astype(jnp.int32)
        if straight_through:
            # In this order the forward value is a one-hot to the bit.
            probs = jax.nn.one_hot(drawn, vocab_size) + (probs - jax.lax.stop_gradient(probs))
        if language_model.end_token is not None:
            probs = jnp.where(alive[:, None], probs, 0.0)
        token, alive = freeze_after_end(language_model, drawn, alive)
        return (state, probs, alive), (probs, token)

    state = language_model.initial_state(params, batch_size)
    start = jnp.full((batch_size,), language_model.start_token, jnp.int32)
    carry = (state, jax.nn.one_hot(start, vocab_size), jnp.ones((batch_size,), bool))
    _, (probs, tokens) = jax.lax.scan(step, carry, jnp.arange(length))
    return RelaxedSamples(
        probs.swapaxes(0, 1), tokens.T, mask_until_end(tokens.T, language_model.end_token)
    )


@functools.partial(jax.jit, static_argnames=("language_model",))
def softmax_outputs(
    language_model: LanguageModel, params: Params, tokens: Array, mask: Array
) -> Array:
    """The model's distribution of each token given those before it, along given sequences.

    Args:
      language_model: the model.
      params: its parameters; the result is differentiable in them.
      tokens: `[B, T]` int32.
      mask: `[B, T]` bool, True for real tokens.

    Returns:
      `G(. | Y_1:t-1)`. Shape `[B, T, V]`, float32; zeros behind the end.
    """
    chex.assert_rank([tokens, mask], 2)
    inputs = shifted_inputs(language_model, tokens).T
    state = language_model.initial_state(params, tokens.shape[0])
    if language_model.features is None or language_model.output is None:
        step = functools.partial(language_model.step, params)
        _, logits = jax.lax.scan(lambda state, token: step(state, token), state, inputs)
    else:
        features = functools.partial(language_model.features, params)
        _, hidden = jax.lax.scan(lambda state, token: features(state, token), state, inputs)
        kernel, bias = language_model.output(params)
        logits = linear_logits(hidden, kernel, bias)  # [T, B, V]
    probs = jax.nn.softmax(logits, axis=-1).swapaxes(0, 1)
    return jnp.where(mask[..., None], probs, 0.0)


def one_hots(tokens: Array, mask: Array, vocab_size: int) -> Array:
    """Tokens `[..., T]` as distributions `[..., T, V]` float32, zeros where the mask is False."""
    return jnp.where(mask[..., None], jax.nn.one_hot(tokens, vocab_size), 0.0)


def relaxation_temperature(
    updates: Array | int, *, start: float, least: float, fall: float
) -> Array:
    """`max(least, start * exp(-fall * updates))` (arXiv 1611.01144, section 4.2).

    Args:
      updates: of the generator so far, a scalar.
      start: the temperature before the first of them.
      least: it falls no lower.
      fall: the rate, per update; 0 keeps it at `start`.

    Returns:
      Scalar float32.
    """
    return jnp.maximum(least, start * jnp.exp(-fall * jnp.asarray(updates, jnp.float32)))
