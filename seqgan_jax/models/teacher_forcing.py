"""Runs a language model along given sequences: log-probabilities and the states on the way."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp

from seqgan_jax.blocks import (
    LIKELIHOOD_ROWS,
    LiveBlocks,
    in_place,
    live_blocks,
    map_live,
    map_rows,
)
from seqgan_jax.models.linear_output import LinearOutput, linear_output, shifted_logits, with_one
from seqgan_jax.types import Array, LanguageModel, ModelState, Params


def shifted_inputs(language_model: LanguageModel, tokens: Array) -> Array:
    """What is fed to predict each token: start token, then all tokens but the last. `[B, T]`."""
    start = jnp.full_like(tokens[:, :1], language_model.start_token)
    return jnp.concatenate([start, tokens[:, :-1]], axis=1)


def prefix_states(language_model: LanguageModel, params: Params, tokens: Array) -> ModelState:
    """States before each position of given sequences, in one scan.

    Args:
      language_model: the model.
      params: its parameters.
      tokens: `[B, T]` int32.

    Returns:
      A pytree like the model's state with a leading time axis, `[T, B, ...]`. Entry t is the state
      from which feeding token t-1 (the start token for t = 0) yields the logits of position t.
    """
    chex.assert_rank(tokens, 2)

    def advance(state: ModelState, token: Array) -> tuple[ModelState, ModelState]:
        next_state, _ = language_model.step(params, state, token)
        return next_state, state

    state = language_model.initial_state(params, tokens.shape[0])
    _, states = jax.lax.scan(advance, state, shifted_inputs(language_model, tokens).T)
    return states


@functools.partial(jax.jit, static_argnames=("language_model", "dropout_rate"))
def log_probs(
    language_model: LanguageModel,
    params: Params,
    tokens: Array,
    dropout_rate: float = 0.0,
    dropout_key: Array | None = None,
    mask: Array | None = None,
    inputs: Array | None = None,
) -> Array:
    """Log-probability of each token given those before it, in nats.

    Positions behind an end token get whatever the model says, or 0; callers weigh them by a mask.

    Args:
      language_model: the model.
      params: its parameters.
      tokens: `[B, T]` int32, each in [0, V).
      dropout_rate: share of the model's features dropped before its output layer, while training.
      dropout_key: a random key, consumed; None turns dropout off.
      mask: `[B, T]` bool, True for real tokens. Where sequences end, nearly nothing is then spent
        on what is behind the end, if the model has `features` and `output`. None: all count.
      inputs: `[B, T]` int32, fed in place of the start token and the tokens before each.

    Returns:
      `log G(y_t | Y_1:t-1)`. Shape `[B, T]`, float32.

    Raises:
      ValueError: dropout, of a model without `features` and `output`.
    """
    chex.assert_rank(tokens, 2)
    inputs = (shifted_inputs(language_model, tokens) if inputs is None else inputs).T
    state = language_model.initial_state(params, tokens.shape[0])
    if language_model.features is None or language_model.output is None:
        if dropout_rate > 0.0:
            raise ValueError(
                f"dropout_rate={dropout_rate}: the language model gives no `features` and `output` "
                "to drop from; give 0"
            )

        def step(state: ModelState, pair: tuple[Array, Array]) -> tuple[ModelState, Array]:
            token, target = pair
            state, logits = language_model.step(params, state, token)
            chosen = jnp.take_along_axis(logits, target[:, None], axis=-1)[:, 0]
            return state, chosen - jax.nn.logsumexp(logits, axis=-1)

        return jax.lax.scan(step, state, (inputs, tokens.T))[1].T

    features = functools.partial(language_model.features, params)
    _, hidden = jax.lax.scan(lambda s, token: features(s, token), state, inputs)  # [T, B, H]
    if dropout_rate > 0.0 and dropout_key is not None:
        kept = jax.random.bernoulli(dropout_key, 1.0 - dropout_rate, hidden.shape)
        hidden = jnp.where(kept, hidden / (1.0 - dropout_rate), 0.0)
    kernel, bias = language_model.output(params)
    rows = hidden.reshape(-1, hidden.shape[-1])
    blocks = None
    if mask is not None and language_model.end_token is not None:
        blocks = live_blocks(mask.T.reshape(-1))
    result = linear_log_probs(rows, kernel, bias, tokens.T.reshape(-1), blocks)
    return result.reshape(inputs.shape).T


@jax.custom_vjp
def linear_log_probs(
    features: Array, kernel: Array, bias: Array, targets: Array, blocks: LiveBlocks | None = None
) -> Array:
    """Log-softmax of `features @ kernel + bias` at the targets, without an array of log-softmax.

    The target's logit comes from its own column of the kernel, and the gradient is written out
    once: exponentials are taken a single time, and their normalisation is folded into the small
    `[R, H]` operands.

    Args:
      features: `[R, H]`.
      kernel: `[H, V]`.
      bias: `[V]`.
      targets: `[R]` int32.
      blocks: which of the R rows count; None for all.

    Returns:
      `[R]` float32; 0 for rows that do not count.
    """
    output = linear_output(kernel, bias)

    def forward(block: tuple[Array, Array]) -> Array:
        return _forward(block[0], output, block[1])[0]

    if blocks is not None:
        return in_place(map_live(forward, (features, targets), blocks), blocks)
    return map_rows(forward, (features, targets), LIKELIHOOD_ROWS)


def _forward(
    features: Array, output: LinearOutput, targets: Array
) -> tuple[Array, tuple[Array, Array]]:
    """Log-probabilities, and the unnormalised exponentials `[R, V]` with their sums `[R]`."""
    logits, shift = shifted_logits(features, output)
    weights = jnp.exp(logits - shift[:, None])
    sums = weights.sum(axis=-1)
    chosen = jnp.sum(with_one(features) * output.kernel.T[targets], axis=-1)
    return chosen - shift - jnp.log(sums), (weights, sums)


Residuals = tuple[Array, Array, Array, LiveBlocks | None, tuple[Array, Array]]


def _linear_log_probs_fwd(
    features: Array, kernel: Array, bias: Array, targets: Array, blocks: LiveBlocks | None
) -> tuple[Array, Residuals]:
    output = linear_output(kernel, bias)
    if blocks is None:
        result, kept = _forward(features, output, targets)
    else:
        each, kept = map_live(
            lambda block: _forward(block[0], output, block[1]), (features, targets), blocks
        )
        result = in_place(each, blocks)
    return result, (features, kernel, targets, blocks, kept)


def _linear_log_probs_bwd(residuals: Residuals, cotangent: Array) -> tuple:
    features, kernel, targets, blocks, (weights, sums) = residuals
    # The bias rides along as one more feature that is always 1.
    with_bias = with_one(features)
    # d log p(target) / d logits = onehot(target) - weights / sum.
    if blocks is None:
        normalised, dense = _through_softmax(kernel, with_bias, weights, cotangent / sums)
    else:
        cotangent = jnp.where(blocks.live, cotangent, 0.0)
        normalised, dense = _through_live(kernel, with_bias, weights, sums, cotangent, blocks)
    d_features = cotangent[:, None] * kernel.T[targets] - normalised
    sparse = jnp.zeros(dense.T.shape, dense.dtype)
    sparse = sparse.at[targets].add(with_bias * cotangent[:, None])
    d_both = sparse.T - dense
    return d_features, d_both[:-1], d_both[-1], None, None


def _through_softmax(
    kernel: Array, with_bias: Array, weights: Array, scaled: Array
) -> tuple[Array, Array]:
    """What the normaliser takes from the gradients of features `[R, H]` and layer `[H + 1, V]`."""
    return (weights @ kernel.T) * scaled[:, None], (with_bias * scaled[:, None]).T @ weights


def _through_live(
    kernel: Array,
    with_bias: Array,
    weights: Array,
    sums: Array,
    cotangent: Array,
    blocks: LiveBlocks,
) -> tuple[Array, Array]:
    """`_through_softmax` of blocks of rows `[blocks, rows, ...]`, passing over those not live."""
    size = blocks.rows.shape[1]
    # What follows the live rows in the last block of them repeats row 0; it must not count again.
    counts = jnp.arange(blocks.rows.size).reshape(blocks.rows.shape) < blocks.live.sum()

    def step(dense: Array, block: tuple[Array, ...]) -> tuple[Array, Array]:
        rows, is_live, counted, block_weights, block_sums = block

        def live() -> tuple[Array, Array]:
            scaled = jnp.where(counted, cotangent[rows] / block_sums, 0.0)
            part, more = _through_softmax(kernel, with_bias[rows], block_weights, scaled)
            return dense + more, part

        return jax.lax.cond(
            is_live, live, lambda: (dense, jnp.zeros((size, kernel.shape[0]), kernel.dtype))
        )

    start = jnp.zeros((kernel.shape[0] + 1, kernel.shape[1]), kernel.dtype)
    dense, each = jax.lax.scan(step, start, (blocks.rows, blocks.is_live, counts, weights, sums))
    return in_place(each, blocks), dense


linear_log_probs.defvjp(_linear_log_probs_fwd, _linear_log_probs_bwd)
