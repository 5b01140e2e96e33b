"""Shapes, signatures and small records that every room shares.

Shape legend, used in every docstring: B batch, T sequence length, V vocabulary, N rollouts,
H hidden units (or features), E embedding, S seeds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
Params = Any  # a pytree of arrays
ModelState = Any  # a pytree of arrays, each with the batch as its leading axis
Metrics = dict[str, Array]  # name -> scalar


class Samples(NamedTuple):
    """Sequences and which of their positions are real, drawn from a model or read as data."""

    tokens: Array  # [B, T] int32
    mask: Array  # [B, T] bool; True up to and including the end token


class Sequences(NamedTuple):
    """The same on the host, in NumPy."""

    tokens: np.ndarray  # [B, T] int32
    mask: np.ndarray  # [B, T] bool; True up to and including the end token


class LabelledBatch(NamedTuple):
    """What a discriminator learns from."""

    tokens: Array  # [B, T] int32
    mask: Array  # [B, T] bool
    labels: Array  # [B] float32: 1 for real, 0 for generated


class Reward(Protocol):
    """Scores whole sequences; any function of this signature is a reward."""

    def __call__(self, tokens: Array, mask: Array) -> Array:
        """Maps tokens `[..., T]` and mask `[..., T]` to one score a sequence, `[...]` float32."""


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """A model of the next token, as functions of its parameters.

    Sampling, rollouts and likelihoods see only this record, so any autoregressive model fits: a
    Transformer keeps its key-value cache in the state.

    Attributes:
      vocab_size: V.
      init: `key -> params`.
      initial_state: `(params, batch_size) -> state`, the state before the first token. Every
        array in it has the batch as its leading axis.
      step: `(params, state, token [B]) -> (state, logits [B, V])`. The first token fed is
        `start_token`; the logits are those of the token that follows the one fed.
      start_token: fed before the first position.
      end_token: the token that ends a sequence, or None where every sequence has full length.
      pad_token: fills the positions behind the end token.
      unknown_token: stands for words that the vocabulary lacks, and is none; or None.
      features: optional, `(params, state, token [B]) -> (state, features [B, H])`. With `output`
        it says that logits are `features @ kernel + bias`; likelihoods then never hold a
        `[B, T, V]` array of probabilities.
      output: optional, `params -> (kernel [H, V], bias [V])`.
      takes_distributions: whether `step` also takes distributions over the vocabulary, `[B, V]`
        float32, in place of ids, as relaxed samples are fed back.
    """

    vocab_size: int
    init: Callable[[Array], Params]
    initial_state: Callable[[Params, int], ModelState]
    step: Callable[[Params, ModelState, Array], tuple[ModelState, Array]]
    start_token: int = 0
    end_token: int | None = None
    pad_token: int = 0
    unknown_token: int | None = None
    features: Callable[[Params, ModelState, Array], tuple[ModelState, Array]] | None = None
    output: Callable[[Params], tuple[Array, Array]] | None = None
    takes_distributions: bool = False

    def __post_init__(self) -> None:
        """Refuses token ids outside the vocabulary and a half-given linear output."""
        if self.vocab_size < 1:
            raise ValueError(f"vocab_size={self.vocab_size}: must be at least 1")
        for name in ("start_token", "end_token", "pad_token", "unknown_token"):
            token = getattr(self, name)
            if token is not None and not 0 <= token < self.vocab_size:
                raise ValueError(f"{name}={token}: must lie in [0, vocab_size={self.vocab_size})")
        if (self.features is None) != (self.output is None):
            raise ValueError("features and output are given together or not at all")


@dataclasses.dataclass(frozen=True)
class SequenceClassifier:
    """A discriminator, as functions of its parameters.

    Attributes:
      init: `key -> params`.
      embed: `(params, tokens) -> embedded [B, T, E]`. `tokens` are ids `[B, T]`, or, for relaxed
        samples, distributions over the vocabulary `[B, T, V]`.
      apply: `(params, embedded [B, T, E], mask [B, T], dropout_key) -> logits [B]`; the
        probability of being real is their sigmoid. `dropout_key=None` turns dropout off.
      penalty: `params -> scalar`, what weight decay acts on.
      is_density: whether `apply` gives the logarithm of a density of sequences instead of a logit.
        The methods then judge by its ratio to the generator's own likelihood.
      features: optional, of the arguments of `apply`, a vector a sequence, `[B, F]`: what a ranker
        compares.
    """

    init: Callable[[Array], Params]
    embed: Callable[[Params, Array], Array]
    apply: Callable[[Params, Array, Array, Array | None], Array]
    penalty: Callable[[Params], Array]
    is_density: bool = False
    features: Callable[[Params, Array, Array, Array | None], Array] | None = None


def mask_until_end(tokens: Array, end_token: int | None) -> Array:
    """Marks the positions up to and including the first end token.

    Args:
      tokens: `[..., T]` int32.
      end_token: the id that ends a sequence, or None.

    Returns:
      `[..., T]` bool; all True where `end_token` is None or does not occur.
    """
    if end_token is None:
        return jnp.ones(tokens.shape, bool)
    ended = jnp.cumsum(tokens == end_token, axis=-1)
    # Position t is real if no end token stands strictly before it.
    return ended - (tokens == end_token) == 0
