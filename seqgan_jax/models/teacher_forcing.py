"""Runs a language model along given sequences: log-probabilities and the states on the way."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp

from seqgan_jax.blocks import live_blocks
from seqgan_jax.mesh import over_data
from seqgan_jax.models.softmax import linear_log_probs
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
    of_rows = functools.partial(_states, language_model)
    return over_data(of_rows, (None, 0), 1)(params, tokens)


def _states(language_model: LanguageModel, params: Params, tokens: Array) -> ModelState:
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
    if inputs is None:
        inputs = shifted_inputs(language_model, tokens)
    if language_model.features is None or language_model.output is None:
        if dropout_rate > 0.0:
            raise ValueError(
                f"dropout_rate={dropout_rate}: the language model gives no `features` and `output` "
                "to drop from; give 0"
            )
        of_rows = functools.partial(_by_steps, language_model)
        return over_data(of_rows, (None, 0, 0))(params, tokens, inputs)
    kept = None
    if dropout_rate > 0.0 and dropout_key is not None:
        # Of all rows at once, so that what is dropped does not depend on how they are spread.
        shape = (tokens.shape[1], tokens.shape[0], _width(language_model, params))
        kept = jax.random.bernoulli(dropout_key, 1.0 - dropout_rate, shape)
    of_rows = functools.partial(_by_features, language_model, dropout_rate)
    return over_data(of_rows, (None, 0, 0, 1, 0))(params, tokens, inputs, kept, mask)


def _width(language_model: LanguageModel, params: Params) -> int:
    """H of the features that meet the output layer."""
    if language_model.output is None:
        raise ValueError("the language model has no linear output")
    return int(jax.eval_shape(language_model.output, params)[0].shape[0])


def _by_steps(language_model: LanguageModel, params: Params, tokens: Array, inputs: Array) -> Array:
    """`log_probs` of a model that gives logits alone."""

    def step(state: ModelState, pair: tuple[Array, Array]) -> tuple[ModelState, Array]:
        token, target = pair
        state, logits = language_model.step(params, state, token)
        chosen = jnp.take_along_axis(logits, target[:, None], axis=-1)[:, 0]
        return state, chosen - jax.nn.logsumexp(logits, axis=-1)

    state = language_model.initial_state(params, tokens.shape[0])
    return jax.lax.scan(step, state, (inputs.T, tokens.T))[1].T


def _by_features(
    language_model: LanguageModel,
    dropout_rate: float,
    params: Params,
    tokens: Array,
    inputs: Array,
    kept: Array | None,
    mask: Array | None,
) -> Array:
    """`log_probs` of a model whose logits are a linear layer's; `kept` `[T, B, H]` bool."""
    if language_model.features is None or language_model.output is None:
        raise ValueError("the language model has no linear output")
    state = language_model.initial_state(params, tokens.shape[0])
    features = functools.partial(language_model.features, params)
    _, hidden = jax.lax.scan(lambda s, token: features(s, token), state, inputs.T)  # [T, B, H]
    if kept is not None:
        hidden = jnp.where(kept, hidden / (1.0 - dropout_rate), 0.0)
    kernel, bias = language_model.output(params)
    rows = hidden.reshape(-1, hidden.shape[-1])
    blocks = None
    if mask is not None and language_model.end_token is not None:
        blocks = live_blocks(mask.T.reshape(-1))
    result = linear_log_probs(rows, kernel, bias, tokens.T.reshape(-1), blocks)
    return result.reshape(inputs.shape[::-1]).T
