"""Draws tokens: one a row, from logits or from a language model that is one step further."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from seqgan_jax import mesh
from seqgan_jax.blocks import (
    DRAWN_TOKENS,
    drawn_rows,
    in_place,
    live_blocks,
    map_live,
    map_rows,
)
from seqgan_jax.models.linear_output import features_dtype, linear_output, shifted_logits
from seqgan_jax.types import Array, LanguageModel, ModelState, Params


def _first_above(weights: Array, threshold: Array) -> tuple[Array, Array]:
    """First index whose cumulative weight exceeds a threshold, among positive weights only.

    Args:
      weights: `[B, K]`, non-negative, with a positive one in every row.
      threshold: `[B]`.

    Returns:
      The index `[B]` int32 and the cumulative weight before it `[B]`. Where rounding leaves the
      threshold at or above the total, the last index of positive weight.
    """
    cumulative = jnp.cumsum(weights, axis=-1)
    positive = weights > 0
    # Rounding may make a parallel cumulative sum step up where the weight is 0: ask for both.
    found = positive & (cumulative > threshold[:, None])
    last = weights.shape[-1] - 1 - jnp.argmax(positive[:, ::-1], axis=-1)
    index = jnp.where(found.any(axis=-1), jnp.argmax(found, axis=-1), last).astype(jnp.int32)
    at_index = (cumulative - weights)[jnp.arange(weights.shape[0]), index]
    return index, at_index


def draw_token(logits: Array, uniform: Array) -> Array:
    """Draws one token a row by inverting the cumulative distribution, in two levels.

    Sums of blocks of tokens choose the block, then the block's own cumulative sum the token: one
    uniform and V exponentials a token, where the Gumbel-max of `jax.random.categorical` takes V
    random numbers and 2V logarithms.

    Args:
      logits: `[B, V]`, unnormalised; -inf is a probability of 0. Some entry of every row must be
        finite.
      uniform: `[B]`, in [0, 1). A function of it, the token is exact up to float32 rounding of
        the cumulative sums; a token of probability 0 is never returned.

    Returns:
      `[B]` int32.
    """
    chex.assert_rank([logits, uniform], [2, 1])
    return _draw_shifted(logits, logits.max(axis=-1), uniform)


def _draw_shifted(logits: Array, shift: Array, uniform: Array) -> Array:
    """`draw_token` where `exp(logits - shift)`, shift `[B]`, is known to be finite.

    Where these are the logits of a part of the vocabulary, the devices that hold the parts exchange
    two numbers a row, and the one on whose part the draw falls tells the token.
    """
    num_rows, vocab_size = logits.shape
    block = min(DRAWN_TOKENS, vocab_size)
    num_blocks = -(-vocab_size // block)
    missing = num_blocks * block - vocab_size
    if missing:
        logits = jnp.pad(logits, ((0, 0), (0, missing)), constant_values=-jnp.inf)
    blocks = logits.reshape(num_rows, num_blocks, block)
    # Behind a barrier, or XLA takes all exponentials again for each use of their sums; and only
    # the chosen block's are taken twice, so that the others are never written: 1.4 times as fast.
    sums = jnp.exp(blocks - shift[:, None, None]).sum(axis=-1)
    sums = jax.lax.optimization_barrier(sums)
    threshold, mine = _threshold(sums.sum(axis=-1), shift, uniform)
    chosen, before = _first_above(sums, threshold)
    weights = jnp.exp(blocks[jnp.arange(num_rows), chosen] - shift[:, None])
    within, _ = _first_above(jax.lax.optimization_barrier(weights), threshold - before)
    # Only a row without any probability, such as one of NaN, could point into the padding.
    token = jnp.minimum(chosen * block + within, vocab_size - 1)
    if mine is None:
        return token
    return mesh.vocabulary_sum(jnp.where(mine, token + mesh.first_token(vocab_size), 0))


def _threshold(total: Array, shift: Array, uniform: Array) -> tuple[Array, Array | None]:
    """Where in its cumulative sum a draw falls, and whether on this part of the vocabulary.

    Args:
      total: of the part's `exp(logits - shift)`, `[B]`.
      shift: `[B]`.
      uniform: `[B]`.

    Returns:
      The cumulative weight within the part, in the part's own scale, `[B]`; and `[B]` bool, or None
      where the part is all.
    """
    if mesh.parts() == 1:
        return uniform * total, None
    shifts, totals = jnp.moveaxis(mesh.of_each_part(jnp.stack([shift, total])), 1, 0)
    top = shifts.max(axis=0)
    totals = totals * jnp.exp(shifts - top)
    threshold = uniform * totals.sum(axis=0)
    part, before = _first_above(totals.T, threshold)
    first = mesh.first_token(1)
    return (threshold - before) * jnp.exp(top - shift), part == first


def next_token(
    language_model: LanguageModel, params: Params, temperature: float | Array = 1.0
) -> Callable[[ModelState, Array, Array, Array], tuple[ModelState, Array]]:
    """One step of a model and a draw from it; made once, outside the loop over positions.

    Args:
      language_model: the model.
      params: its parameters.
      temperature: logits are divided by it.

    Returns:
      A function `(state, token [B], uniform [B], alive [B]) -> (state, next token [B])`, the token
      drawn as by `draw_token`, without its pass for the maximum where the logits are a linear
      layer's. Where sequences end, nearly nothing is spent on those that are not alive; their token
      has no meaning.
    """
    if language_model.features is None or language_model.output is None:

        def draw(
            state: ModelState, token: Array, uniform: Array, alive: Array
        ) -> tuple[ModelState, Array]:
            del alive
            state, logits = language_model.step(params, state, token)
            return state, draw_token(logits / temperature, uniform)

        return draw

    features_of = language_model.features
    kernel, bias = (leaf / temperature for leaf in language_model.output(params))
    output = linear_output(kernel, bias, features_dtype(language_model, params))
    parts = mesh.shards(mesh.MODEL)
    most_rows = drawn_rows(language_model.vocab_size // parts)

    def drawn(rows: tuple[Array, Array]) -> Array:
        def of_part(features: Array, uniform: Array, kernel: Array, longest: Array) -> Array:
            return _draw_shifted(*shifted_logits(features, kernel, longest), uniform)

        spread = mesh.over_vocabulary(of_part, (None, None, 1, None), None)
        token: Array = spread(*rows, *output)
        return token

    def draw_linear(
        state: ModelState, token: Array, uniform: Array, alive: Array
    ) -> tuple[ModelState, Array]:
        state, features = features_of(params, state, token)
        # Devices that wait for one another cannot pass over rows, each as it likes.
        if language_model.end_token is None or parts > 1:
            return state, map_rows(drawn, (features, uniform), most_rows)
        blocks = live_blocks(alive)
        return state, in_place(map_live(drawn, (features, uniform), blocks), blocks)

    return draw_linear


def draw_filtered_token(
    logits: Array, uniform: Array, top_k: int | None, top_p: float | None
) -> Array:
    """Draws one token a row from the likeliest tokens only.

    Args:
      logits: `[B, V]`.
      uniform: `[B]`, in [0, 1).
      top_k: keep the k likeliest tokens (of equal ones, those of lower id), or None.
      top_p: keep the smallest set of likeliest tokens whose probability, after `top_k`, reaches
        this (arXiv 1904.09751), or None.

    Returns:
      `[B]` int32.
    """
    if top_k is None and (top_p is None or top_p >= 1.0):
        return draw_token(logits, uniform)
    kept = logits.shape[-1] if top_k is None else min(top_k, logits.shape[-1])
    ordered, ids = _likeliest(logits, kept)
    # A cumulative sum may reach 1 early by rounding, so a nucleus of 1 is not cut by it.
    if top_p is not None and top_p < 1.0:
        probabilities = jax.nn.softmax(ordered, axis=-1)
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        # The likeliest always stays, whatever its own rounding.
        inside = (before < top_p) | (jnp.arange(kept)[None, :] == 0)
        ordered = jnp.where(inside, ordered, -jnp.inf)
    index = draw_token(ordered, uniform)
    return jnp.take_along_axis(ids, index[:, None], axis=-1)[:, 0].astype(jnp.int32)


def _likeliest(logits: Array, number: int) -> tuple[Array, Array]:
    """The largest of each row's logits `[B, V]` in order, those of lower id first, and their ids.

    Of a vocabulary spread over devices, what they exchange is `number` candidates a row of each
    part, or its whole part where that is smaller.
    """

    def of_part(logits: Array) -> tuple[Array, Array]:
        rows, size = logits.shape
        values, ids = jax.lax.top_k(logits, min(number, size))
        if mesh.parts() == 1:
            return values, ids
        # Parts in the order of their tokens: of equal logits the first has the lowest id still.
        values, ids = (
            jnp.moveaxis(mesh.of_each_part(leaf), 0, 1).reshape(rows, -1)
            for leaf in (values, ids + mesh.first_token(size))
        )
        values, place = jax.lax.top_k(values, number)
        return values, jnp.take_along_axis(ids, place, axis=1)

    likeliest: tuple[Array, Array] = mesh.over_vocabulary(of_part, (1,), (None, None))(logits)
    return likeliest
