"""Draws tokens from logits and sequences from a language model."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from seqgan_jax import mesh
from seqgan_jax.blocks import (
    DRAWN_ROWS,
    DRAWN_TOKENS,
    drawn_rows,
    in_place,
    live_blocks,
    map_live,
    map_rows,
)
from seqgan_jax.models.linear_output import features_dtype, linear_output, shifted_logits
from seqgan_jax.types import Array, LanguageModel, ModelState, Params, Samples, mask_until_end

_LEAST_TEMPERATURE = 1e-6  # logits divided by less overflow; this one draws the likeliest token


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
    ordered, ids = jax.lax.top_k(logits, kept)
    # A cumulative sum may reach 1 early by rounding, so a nucleus of 1 is not cut by it.
    if top_p is not None and top_p < 1.0:
        probabilities = jax.nn.softmax(ordered, axis=-1)
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        # The likeliest always stays, whatever its own rounding.
        inside = (before < top_p) | (jnp.arange(kept)[None, :] == 0)
        ordered = jnp.where(inside, ordered, -jnp.inf)
    index = draw_token(ordered, uniform)
    return jnp.take_along_axis(ids, index[:, None], axis=-1)[:, 0].astype(jnp.int32)


def _check_filter(temperature: float | Array, top_k: int | None, top_p: float | None) -> None:
    if isinstance(temperature, float | int) and not (
        temperature >= _LEAST_TEMPERATURE and math.isfinite(temperature)
    ):
        raise ValueError(
            f"temperature={temperature}: must be finite and at least {_LEAST_TEMPERATURE:g}"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k={top_k}: must be at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p}: must lie in (0, 1]")


def sample(
    language_model: LanguageModel,
    params: Params,
    key: Array,
    *,
    batch_size: int,
    length: int,
    temperature: float | Array = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    prefix: Array | None = None,
) -> Samples:
    """Draws sequences from a language model.

    Args:
      language_model: the model.
      params: its parameters.
      key: a random key, consumed.
      batch_size: B.
      length: T.
      temperature: logits are divided by it; below 1 sharpens.
      top_k: draw from the k likeliest tokens only; None for all.
      top_p: draw from the nucleus of this probability only; None for all. Applied after `top_k`.
      prefix: the tokens that every sequence begins with, `[P]` int32, P <= T; None for none.

    Returns:
      Tokens `[B, T]` int32 and their mask `[B, T]`, False behind the first end token, where the
      tokens are the model's `pad_token`. A position's draw does not depend on T.

    Raises:
      ValueError: `batch_size`, `length`, `temperature`, `top_k`, `top_p` or the length of `prefix`
        is out of range.
    """
    if batch_size < 1 or length < 1:
        raise ValueError(f"batch_size={batch_size}, length={length}: both must be at least 1")
    _check_filter(temperature, top_k, top_p)
    given = None
    if prefix is not None:
        if len(prefix) > length:
            raise ValueError(f"prefix of {len(prefix)} tokens: longer than length={length}")
        given = jnp.full((length,), _FREE, jnp.int32).at[: len(prefix)].set(prefix)
    return _sample(
        language_model, params, key, temperature, given, batch_size=batch_size, length=length,
        top_k=top_k, top_p=top_p,
    )  # fmt: skip


_FREE = -1  # in place of a given token: one is to be drawn


@functools.partial(
    jax.jit, static_argnames=("language_model", "batch_size", "length", "top_k", "top_p")
)
def _sample(
    language_model: LanguageModel,
    params: Params,
    key: Array,
    temperature: float | Array,
    given: Array | None,
    *,
    batch_size: int,
    length: int,
    top_k: int | None,
    top_p: float | None,
) -> Samples:
    num_blocks = -(-batch_size // DRAWN_ROWS)
    rows = -(-batch_size // num_blocks)
    # Time first: then a longer T leaves the uniforms of the positions before it as they are.
    uniforms = jax.random.uniform(key, (length, num_blocks * rows))[:, :batch_size]
    draw = functools.partial(_draw_rows, language_model, top_k, top_p)
    spread = mesh.over_data(draw, (None, None, None, 1))
    tokens = spread(params, temperature, given, mesh.along_rows(uniforms, 1))
    return Samples(tokens, mask_until_end(tokens, language_model.end_token))


def _draw_rows(
    language_model: LanguageModel,
    top_k: int | None,
    top_p: float | None,
    params: Params,
    temperature: float | Array,
    given: Array | None,
    uniforms: Array,
) -> Array:
    """Tokens `[B, T]` from uniforms `[T, B]`, `DRAWN_ROWS` sequences at a time."""

    def draw_filtered(
        state: ModelState, token: Array, uniform: Array, alive: Array
    ) -> tuple[ModelState, Array]:
        del alive
        state, logits = language_model.step(params, state, token)
        return state, draw_filtered_token(logits / temperature, uniform, top_k, top_p)

    unfiltered = top_k is None and top_p is None
    draw = next_token(language_model, params, temperature) if unfiltered else draw_filtered

    def draw_block(block_uniforms: Array) -> Array:  # [rows, T], as its result
        rows = block_uniforms.shape[0]

        def step(
            carry: tuple[ModelState, Array, Array], inputs: tuple[Array, Array | None]
        ) -> tuple[tuple[ModelState, Array, Array], Array]:
            (state, token, alive), (uniform, fixed) = carry, inputs
            state, token = draw(state, token, uniform, alive)
            if fixed is not None:
                token = jnp.where(fixed == _FREE, token, fixed)
            token, alive = freeze_after_end(language_model, token, alive)
            return (state, token, alive), token

        state = language_model.initial_state(params, rows)
        start = jnp.full((rows,), language_model.start_token, jnp.int32)
        carry = (state, start, jnp.ones((rows,), bool))
        return jax.lax.scan(step, carry, (block_uniforms.T, given))[1].T

    return map_rows(draw_block, uniforms.T, DRAWN_ROWS)


def freeze_after_end(
    language_model: LanguageModel, token: Array, alive: Array
) -> tuple[Array, Array]:
    """Replaces draws of ended sequences by padding.

    Args:
      language_model: says which token ends a sequence, if any does.
      token: freshly drawn, `[B]`.
      alive: `[B]` bool, False where the sequence had ended before this token.

    Returns:
      The token, padded, and `alive` for the position after it.
    """
    if language_model.end_token is None:
        return token, alive
    token = jnp.where(alive, token, language_model.pad_token)
    return token, alive & (token != language_model.end_token)
