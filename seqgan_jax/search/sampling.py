"""Draws sequences from a language model."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

from seqgan_jax.blocks import DRAWN_ROWS, map_rows
from seqgan_jax.mesh import along_rows, over_data
from seqgan_jax.search.drawing import draw_filtered_token, next_token
from seqgan_jax.types import Array, LanguageModel, ModelState, Params, Samples, mask_until_end

_LEAST_TEMPERATURE = 1e-6  # logits divided by less overflow; this one draws the likeliest token


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
    spread = over_data(draw, (None, None, None, 1))
    tokens = spread(params, temperature, given, along_rows(uniforms, 1))
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
