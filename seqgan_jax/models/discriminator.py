"""The paper's discriminator: a text CNN with a highway layer (arXiv 1609.05473, Eq. 11-12)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from seqgan_jax.hparams import FILTERS_20, Filters
from seqgan_jax.models.classifier import classifier
from seqgan_jax.models.embedding import look_up
from seqgan_jax.models.products import dense_product, products_dtype
from seqgan_jax.types import Array, SequenceClassifier


class TextCNN(nn.Module):
    """Embedding, filters over time, max over time, highway, dropout, one or two output units.

    Each filter of width w maps window i to relu(embedded[i : i + w] * kernel + b); its maximum over
    i is a feature. Highway: gate * relu(x W_H + b_H) + (1 - gate) * x, gate = sigmoid(x W_T + b_T).
    """

    vocab_size: int
    embed_dim: int
    filters: Filters
    dropout_rate: float
    softmax_head: bool
    dtype: np.dtype  # of products; all else is float32

    def setup(self) -> None:
        """Declares the parameters, with the original code's initial distributions."""
        uniform = nn.initializers.uniform(scale=2.0)
        truncated = nn.initializers.truncated_normal(0.1)
        bias = nn.initializers.constant(0.1)
        self.embedding = self.param(
            "embedding",
            lambda key, shape: uniform(key, shape) - 1.0,
            (self.vocab_size, self.embed_dim),
        )
        dense = functools.partial(nn.Dense, dot_general=dense_product(self.dtype))
        self.convolutions = [
            dense(number, kernel_init=truncated, bias_init=bias, name=f"width_{width}")
            for width, number in self.filters
        ]
        size = sum(number for _, number in self.filters)
        glorot = nn.initializers.glorot_uniform()
        self.transform = dense(size, kernel_init=glorot, name="highway_transform")
        self.gate = dense(size, kernel_init=glorot, name="highway_gate")
        self.dropout = nn.Dropout(self.dropout_rate)
        units = 2 if self.softmax_head else 1
        # So few columns gain nothing from bfloat16.
        self.output = nn.Dense(units, kernel_init=truncated, bias_init=bias, name="output")

    def embed(self, tokens: Array) -> Array:
        """Ids `[B, T]` or distributions `[B, T, V]` -> `[B, T, E]`."""
        return look_up(self.embedding, tokens, self.dtype)

    def features(self, embedded: Array, mask: Array, deterministic: bool) -> Array:
        """Features `[B, F]` of embedded tokens `[B, T, E]`; windows behind the end do not count."""
        length = embedded.shape[1]
        widest = max(width for width, _ in self.filters)
        if widest > length:
            raise ValueError(
                f"a filter of width {widest} does not fit sequences of length T={length}; "
                f"give filters no wider than {length}"
            )
        lengths = mask.sum(axis=1)[:, None]
        pooled = []
        for (width, _), convolution in zip(self.filters, self.convolutions, strict=True):
            positions = length - width + 1
            # Windows unfolded into one matmul a width: on CPUs its gradient is the faster one.
            windows = jnp.concatenate(
                [embedded[:, i : i + positions] for i in range(width)], axis=-1
            )
            # A window that reaches behind the end does not count; ReLU makes 0 of no window.
            inside = jnp.arange(positions)[None, :] + width <= lengths
            scores = jnp.where(inside[..., None], convolution(windows), -jnp.inf)
            # ReLU after the maximum is ReLU before it, on fewer numbers.
            pooled.append(nn.relu(jnp.max(scores, axis=1)))
        features = jnp.concatenate(pooled, axis=-1)
        gate = nn.sigmoid(self.gate(features))
        features = gate * nn.relu(self.transform(features)) + (1.0 - gate) * features
        return self.dropout(features, deterministic=deterministic)

    def __call__(self, embedded: Array, mask: Array, deterministic: bool) -> Array:
        """Logits `[B]` from embedded tokens `[B, T, E]`."""
        scores = self.output(self.features(embedded, mask, deterministic))
        if self.softmax_head:
            # softmax([s_0, s_1])_1 = sigmoid(s_1 - s_0)
            return scores[:, 1] - scores[:, 0]
        return scores[:, 0]

    def initialise(self) -> Array:
        """Touches every parameter once."""
        widest = max(width for width, _ in self.filters)
        tokens = jnp.zeros((1, widest), jnp.int32)
        return self(self.embed(tokens), jnp.ones(tokens.shape, bool), deterministic=True)


def text_cnn(
    vocab_size: int,
    embed_dim: int = 64,
    filters: Sequence[tuple[int, int]] = FILTERS_20,
    *,
    dropout_rate: float = 0.25,
    softmax_head: bool = False,
    precision: str = "float32",
) -> SequenceClassifier:
    """The paper's discriminator.

    Args:
      vocab_size: V.
      embed_dim: E, size of a token's embedding.
      filters: pairs (width, number of filters); no width may exceed the length of the sequences.
      dropout_rate: share of the highway layer's outputs dropped while training.
      softmax_head: two output units under a softmax, as in the original code; its logit is the
        difference of the two. The paper has one unit under a sigmoid, the default.
      precision: of the matrix products, float32 or bfloat16; parameters, sums, logits and gradients
        are float32 in either.

    Returns:
      A `SequenceClassifier`. Its `penalty` is half the squared norm of the output layer's kernel
      and bias. Its `apply` raises ValueError for sequences shorter than the widest filter.

    Raises:
      ValueError: no filters, a width or number below 1, or no such precision.
    """
    pairs = tuple((int(width), int(number)) for width, number in filters)
    if not pairs or min(min(pair) for pair in pairs) < 1:
        raise ValueError(f"filters={pairs}: need at least one pair, of width >= 1 and number >= 1")
    dtype = products_dtype(precision)
    return classifier(TextCNN(vocab_size, embed_dim, pairs, dropout_rate, softmax_head, dtype))
