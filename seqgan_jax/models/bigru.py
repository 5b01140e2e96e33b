"""A bidirectional GRU as the discriminator, as of the method without rollouts."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp

from seqgan_jax.models.classifier import classifier
from seqgan_jax.models.embedding import look_up
from seqgan_jax.types import Array, SequenceClassifier


class BidirectionalGRU(nn.Module):
    """Embedding, a GRU each way, their last states, a tanh layer, dropout, one output unit."""

    vocab_size: int
    embed_dim: int
    hidden_dim: int
    dropout_rate: float

    def setup(self) -> None:
        """Declares the parameters."""
        normal = nn.initializers.normal(1.0)
        self.embedding = self.param("embedding", normal, (self.vocab_size, self.embed_dim))
        self.forward = nn.RNN(nn.GRUCell(self.hidden_dim), return_carry=True)
        self.backward = nn.RNN(
            nn.GRUCell(self.hidden_dim), return_carry=True, reverse=True, keep_order=True
        )
        self.joint = nn.Dense(self.hidden_dim)
        self.dropout = nn.Dropout(self.dropout_rate)
        self.output = nn.Dense(1)

    def embed(self, tokens: Array) -> Array:
        """Ids `[B, T]` or distributions `[B, T, V]` -> `[B, T, E]`."""
        return look_up(self.embedding, tokens)

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
    vocab_size: int, embed_dim: int = 64, hidden_dim: int = 64, *, dropout_rate: float = 0.2
) -> SequenceClassifier:
    """A bidirectional GRU over the sequence (the discriminator of github.com/suragnair/seqGAN).

    Of that code's two layers it has one.

    Args:
      vocab_size: V.
      embed_dim: E, size of a token's embedding.
      hidden_dim: H, size of each direction's state and of the layer above.
      dropout_rate: share of that layer's outputs dropped while training.

    Returns:
      A `SequenceClassifier` for sequences of any length. Its `penalty` is half the squared norm of
      the output layer's kernel and bias.

    Raises:
      ValueError: a size below 1.
    """
    if min(vocab_size, embed_dim, hidden_dim) < 1:
        raise ValueError(
            f"vocab_size={vocab_size}, embed_dim={embed_dim}, hidden_dim={hidden_dim}: each must "
            "be at least 1"
        )
    return classifier(BidirectionalGRU(vocab_size, embed_dim, hidden_dim, dropout_rate))
