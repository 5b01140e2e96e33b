"""A bidirectional GRU as the discriminator, as of the method without rollouts."""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from seqgan_jax.models.classifier import classifier
from seqgan_jax.models.embedding import look_up
from seqgan_jax.models.products import dense_product, products_dtype
from seqgan_jax.types import Array, SequenceClassifier


class GRUCell(nn.GRUCell):
    """Flax's cell, its parameters by their names, whose layers multiply by a product given.

    Flax's own `dtype` would round what the layers return, and so their sums, too.
    """

    dot_general: Callable[..., Array] | None = None

    @nn.compact
    def __call__(self, carry: Array, inputs: Array) -> tuple[Array, Array]:
        """From the state `[B, H]` and an input `[B, E]`, the next state, twice."""
        dense = functools.partial(nn.Dense, self.features, dot_general=self.dot_general)
        of_input = functools.partial(dense, kernel_init=self.kernel_init)
        of_state = functools.partial(dense, kernel_init=self.recurrent_kernel_init)
        of_gate = functools.partial(of_state, use_bias=False)
        reset = nn.sigmoid(of_input(name="ir")(inputs) + of_gate(name="hr")(carry))
        update = nn.sigmoid(of_input(name="iz")(inputs) + of_gate(name="hz")(carry))
        candidate = jnp.tanh(of_input(name="in")(inputs) + reset * of_state(name="hn")(carry))
        state = (1.0 - update) * candidate + update * carry
        return state, state


class BidirectionalGRU(nn.Module):
    """Embedding, a GRU each way, their last states, a tanh layer, dropout, one output unit."""

    vocab_size: int
    embed_dim: int
    hidden_dim: int
    dropout_rate: float
    dtype: np.dtype  # of products; states and all else are float32

    def setup(self) -> None:
        """Declares the parameters."""
        normal = nn.initializers.normal(1.0)
        self.embedding = self.param("embedding", normal, (self.vocab_size, self.embed_dim))
        by = dense_product(self.dtype)
        cells = [GRUCell(self.hidden_dim, dot_general=by) for _ in range(2)]
        self.forward = nn.RNN(cells[0], return_carry=True)
        self.backward = nn.RNN(cells[1], return_carry=True, reverse=True, keep_order=True)
        self.joint = nn.Dense(self.hidden_dim, dot_general=by)
        self.dropout = nn.Dropout(self.dropout_rate)
        self.output = nn.Dense(1)  # one column, which gains nothing from bfloat16

    def embed(self, tokens: Array) -> Array:
        """Ids `[B, T]` or distributions `[B, T, V]` -> `[B, T, E]`."""
        return look_up(self.embedding, tokens, self.dtype)

    def features(self, embedded: Array, mask: Array, deterministic: bool) -> Array:
        """Features `[B, H]` of embedded tokens `[B, T, E]`; what is behind the end is not read."""
        lengths = mask.sum(axis=1)
        last, _ = self.forward(embedded, seq_lengths=lengths)
        first, _ = self.backward(embedded, seq_lengths=lengths)
        joint = jnp.tanh(self.joint(jnp.concatenate([last, first], axis=-1)))
        return self.dropout(joint, deterministic=deterministic)

    def __call__(self, embedded: Array, mask: Array, deterministic: bool) -> Array:
        """Logits `[B]` from embedded tokens `[B, T, E]`."""
        return self.output(self.features(embedded, mask, deterministic))[:, 0]

    def initialise(self) -> Array:
        """Touches every parameter once."""
        tokens = jnp.zeros((1, 1), jnp.int32)
        return self(self.embed(tokens), jnp.ones(tokens.shape, bool), deterministic=True)


def bigru(
    vocab_size: int,
    embed_dim: int = 64,
    hidden_dim: int = 64,
    *,
    dropout_rate: float = 0.2,
    precision: str = "float32",
) -> SequenceClassifier:
    """A bidirectional GRU over the sequence (the discriminator of github.com/suragnair/seqGAN).

    Of that code's two layers it has one.

    Args:
      vocab_size: V.
      embed_dim: E, size of a token's embedding.
      hidden_dim: H, size of each direction's state and of the layer above.
      dropout_rate: share of that layer's outputs dropped while training.
      precision: of the matrix products, float32 or bfloat16; parameters, states, sums, logits and
        gradients are float32 in either.

    Returns:
      A `SequenceClassifier` for sequences of any length. Its `penalty` is half the squared norm of
      the output layer's kernel and bias.

    Raises:
      ValueError: a size below 1, or no such precision.
    """
    if min(vocab_size, embed_dim, hidden_dim) < 1:
        raise ValueError(
            f"vocab_size={vocab_size}, embed_dim={embed_dim}, hidden_dim={hidden_dim}: each must "
            "be at least 1"
        )
    dtype = products_dtype(precision)
    return classifier(BidirectionalGRU(vocab_size, embed_dim, hidden_dim, dropout_rate, dtype))
