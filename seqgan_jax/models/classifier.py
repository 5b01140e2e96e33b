"""Wraps a Flax network of sequences into the record that the rest of the library sees."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqgan_jax.types import Array, Params, SequenceClassifier


# Cached on the network, so that equal arguments give the same record, and jit traces once.
@functools.cache
def classifier(network: Any) -> SequenceClassifier:
    """A discriminator of a Flax module with `embed`, `features`, `__call__` and `initialise`.

    Its last layer is called `output`; half the squared norm of that layer is the penalty.

    Args:
      network: the module; `features` and `__call__` take `(embedded, mask, deterministic)`.
    """

    def init(key: Array) -> Params:
        return network.init(key, method=network.initialise)["params"]

    def embed(params: Params, tokens: Array) -> Array:
        embedded: Any = network.apply({"params": params}, tokens, method=network.embed)
        return embedded

    def applied(method: Any) -> Callable[[Params, Array, Array, Array | None], Array]:
        def apply(
            params: Params, embedded: Array, mask: Array, dropout_key: Array | None = None
        ) -> Array:
            rngs = {} if dropout_key is None else {"dropout": dropout_key}
            result: Any = network.apply(
                {"params": params}, embedded, mask, deterministic=dropout_key is None,
                rngs=rngs, method=method,
            )  # fmt: skip
            return result

        return apply

    def penalty(params: Params) -> Array:
        squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params["output"])]
        return 0.5 * jnp.sum(jnp.stack(squares))

    return SequenceClassifier(
        init, embed, applied(None), penalty, features=applied(network.features)
    )
