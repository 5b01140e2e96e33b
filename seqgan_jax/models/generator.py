"""Recurrent language models: the paper's LSTM, and a GRU."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax.models.embedding import look_up
from seqgan_jax.models.linear_output import linear_logits
from seqgan_jax.models.products import product, products_dtype
from seqgan_jax.types import Array, LanguageModel, Params

_NEVER = -1e30  # a logit of probability 0; infinity would give NaN gradients


class LSTMState(NamedTuple):
    """What an LSTM carries from token to token."""

    cell: Array  # [B, H]
    hidden: Array  # [B, H]


class RecurrentNetwork(nn.Module):
    """Embedding, one recurrent cell and a linear output; every parameter starts as N(0, scale^2).

    The gates' kernels stand side by side in one matrix, in the order named by the cell.
    """

    vocab_size: int
    embed_dim: int
    hidden_dim: int
    num_gates: int
    init_scale: float
    dtype: np.dtype  # of products and features; parameters, gates and states are float32

    def setup(self) -> None:
        """Declares the parameters."""
        normal = nn.initializers.normal(self.init_scale)
        gates = self.num_gates * self.hidden_dim
        self.embedding = self.param("embedding", normal, (self.vocab_size, self.embed_dim))
        self.input_kernel = self.param("input_kernel", normal, (self.embed_dim, gates))
        self.recurrent_kernel = self.param("recurrent_kernel", normal, (self.hidden_dim, gates))
        self.bias = self.param("bias", normal, (gates,))
        self.output_kernel = self.param("output_kernel", normal, (self.hidden_dim, self.vocab_size))
        self.output_bias = self.param("output_bias", normal, (self.vocab_size,))

    def project_input(self, token: Array) -> Array:
        """Gate inputs from a token alone, id `[B]` or distribution `[B, V]`: `[B, gates * H]`."""
        embedded = look_up(self.embedding, token, self.dtype)
        return product(embedded, self.input_kernel, self.dtype) + self.bias[None, :]

    def project_hidden(self, hidden: Array) -> Array:
        """Gate inputs from the hidden state `[B, H]` alone: `[B, gates * H]`."""
        return product(hidden, self.recurrent_kernel, self.dtype)


class LSTM(RecurrentNetwork):
    """The paper's LSTM (arXiv 1609.05473, Eq. 9-10); gates: input, forget, output, cell.

    i, f, o = sigmoid(x W + h U + b) each; c' = f c + i tanh(x W_c + h U_c + b_c); h' = o tanh(c').
    The next token's distribution is softmax(h' W_out + b_out) (Eq. 10).
    """

    def __call__(self, state: LSTMState, token: Array) -> tuple[LSTMState, Array]:
        """Feeds a token `[B]`; returns the next state and the features `[B, H]`."""
        gates = self.project_input(token) + self.project_hidden(state.hidden)
        input_gate, forget_gate, output_gate, candidate = jnp.split(gates, 4, axis=-1)
        cell = nn.sigmoid(forget_gate) * state.cell + nn.sigmoid(input_gate) * jnp.tanh(candidate)
        hidden = nn.sigmoid(output_gate) * jnp.tanh(cell)
        return LSTMState(cell, hidden), hidden.astype(self.dtype)

    def initial_state(self, batch_size: int) -> LSTMState:
        """All zeros."""
        zeros = jnp.zeros((batch_size, self.hidden_dim), jnp.float32)
        return LSTMState(zeros, zeros)


class GRU(RecurrentNetwork):
    """Gated recurrent unit (arXiv 1406.1078, reset gate on the projected state).

    Gates in the order update, reset, candidate. The state is the hidden vector itself.
    """

    def __call__(self, state: Array, token: Array) -> tuple[Array, Array]:
        """Feeds a token `[B]`; returns the next state and the features `[B, H]`."""
        update_in, reset_in, candidate_in = jnp.split(self.project_input(token), 3, axis=-1)
        update_h, reset_h, candidate_h = jnp.split(self.project_hidden(state), 3, axis=-1)
        update = nn.sigmoid(update_in + update_h)
        reset = nn.sigmoid(reset_in + reset_h)
        candidate = jnp.tanh(candidate_in + reset * candidate_h)
        hidden = (1.0 - update) * candidate + update * state
        return hidden, hidden.astype(self.dtype)

    def initial_state(self, batch_size: int) -> Array:
        """All zeros."""
        return jnp.zeros((batch_size, self.hidden_dim), jnp.float32)


# Cached on the network, so that equal arguments, however they are spelled, give the same record
# and jit, for which it is a static argument, does not trace twice.
@functools.cache
def _language_model(
    network: LSTM | GRU, start_token: int, end_token: int | None, pad_token: int, draws_pad: bool
) -> LanguageModel:
    """Wraps a network into the record that the rest of the library sees."""

    def init(key: Array) -> Params:
        token = jnp.zeros((1,), jnp.int32)
        return network.init(key, network.initial_state(1), token)["params"]

    def features(params: Params, state: Any, token: Array) -> tuple[Any, Array]:
        result: Any = network.apply({"params": params}, state, token)
        return result

    def output(params: Params) -> tuple[Array, Array]:
        bias = params["output_bias"]
        return params["output_kernel"], bias if draws_pad else bias.at[pad_token].set(_NEVER)

    def step(params: Params, state: Any, token: Array) -> tuple[Any, Array]:
        state, hidden = features(params, state, token)
        kernel, bias = output(params)
        return state, linear_logits(hidden, kernel, bias)

    def initial_state(params: Params, batch_size: int) -> Any:
        del params
        return network.initial_state(batch_size)

    return LanguageModel(
        vocab_size=network.vocab_size,
        init=init,
        initial_state=initial_state,
        step=step,
        start_token=start_token,
        end_token=end_token,
        pad_token=pad_token,
        features=features,
        output=output,
        takes_distributions=True,
    )


def lstm(
    vocab_size: int,
    embed_dim: int,
    hidden_dim: int,
    start_token: int = 0,
    *,
    end_token: int | None = None,
    pad_token: int = 0,
    draws_pad: bool = True,
    init_scale: float = 0.1,
    precision: str = "float32",
) -> LanguageModel:
    """The paper's generator: an LSTM language model.

    Args:
      vocab_size: V.
      embed_dim: E, size of a token's embedding.
      hidden_dim: H, size of the LSTM's state.
      start_token: the token fed before the first position.
      end_token: the token that ends a sequence; None where all have full length.
      pad_token: fills the positions behind the end.
      draws_pad: whether the padding is also a token that sequences have; if not, its probability
        is 0 everywhere.
      init_scale: standard deviation of every initial parameter.
      precision: of the matrix products, float32 or bfloat16. In bfloat16 the features meet the
        output layer in it; parameters, states, sums, logits and gradients are float32 in either.

    Returns:
      A `LanguageModel` whose state is an `LSTMState`.

    Raises:
      ValueError: a token id lies outside the vocabulary, V < 1, or no such precision.
    """
    network = LSTM(vocab_size, embed_dim, hidden_dim, 4, init_scale, products_dtype(precision))
    return _language_model(network, start_token, end_token, pad_token, draws_pad)


def gru(
    vocab_size: int,
    embed_dim: int,
    hidden_dim: int,
    start_token: int = 0,
    *,
    end_token: int | None = None,
    pad_token: int = 0,
    draws_pad: bool = True,
    init_scale: float = 0.1,
    precision: str = "float32",
) -> LanguageModel:
    """A GRU language model; arguments, result and errors are those of `lstm`."""
    network = GRU(vocab_size, embed_dim, hidden_dim, 3, init_scale, products_dtype(precision))
    return _language_model(network, start_token, end_token, pad_token, draws_pad)


def parameter_count(params: Params) -> int:
    """Number of scalars in a pytree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
