"""Two models so small that every sequence can be written down, for gradients that are exact.

V = T = 3: 27 sequences, or 15 where token 2 ends them. A step's gradient is read from Adam's first
moment: after one step from zero it is (1 - 0.9) * gradient, with clipping put out of reach.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.types import LanguageModel, Samples, mask_until_end

V, T = 3, 3
UNCLIPPED = 1e9  # g_clip_norm


def _step(params, prefix, token):
    prefix = jnp.where(prefix < 0, 0, prefix * V + token + 1)  # the start token makes no prefix
    return prefix, params["table"][prefix]


# A row of logits for every prefix, 1 + 3 + 9: it can represent every distribution of 27 sequences.
TABLE = LanguageModel(
    vocab_size=V,
    init=lambda key: {"table": jax.random.normal(key, (13, V))},
    initial_state=lambda params, batch_size: jnp.full((batch_size,), -1),
    step=_step,
)
ENDING = dataclasses.replace(TABLE, end_token=2)


def batch_of(batch_size):
    """A batch of which only the shape matters."""
    shape = (batch_size, T)
    return Samples(jnp.ones(shape, jnp.int32), jnp.ones(shape, bool))


def sequences(model):
    """Every sequence that the model can draw."""
    tokens = np.array(list(itertools.product(range(V), repeat=T)))
    mask = np.asarray(mask_until_end(jnp.asarray(tokens), model.end_token))
    drawable = (mask | (tokens == model.pad_token)).all(axis=1)
    return Samples(jnp.asarray(tokens[drawable], jnp.int32), jnp.asarray(mask[drawable]))


def log_likelihoods(model, params):
    """log P of every sequence."""
    each = sequences(model)
    return jnp.where(each.mask, log_probs(model, params, each.tokens), 0.0).sum(axis=1)


def gradient_in(opt_state):
    """The gradient of a first step, flat, as the optimiser minimises."""
    return ravel_pytree(optax.tree.get(opt_state, "mu"))[0] / 0.1


def step_gradients(generator_step, state, batch_size, num_keys):
    """Minus the gradient that a step hands to Adam under each of many keys, `[K, P]`."""

    def gradient(key):
        after, _ = generator_step(dataclasses.replace(state, key=key), batch_of(batch_size))
        return -gradient_in(after.g_opt_state)

    keys = jax.random.split(jax.random.key(1), num_keys)
    return np.asarray(jax.jit(jax.vmap(gradient))(keys), np.float64)


def standard_errors_away(gradients, expected):
    """The largest distance of a component's mean from its expectation, in standard errors."""
    error = gradients.std(axis=0) / np.sqrt(len(gradients))
    return np.max(np.abs(gradients.mean(axis=0) - expected) / (error + 1e-7))


def changed_fields(before, after):
    """Names of the state's fields that a step changed."""

    def bits(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    def equal(one, other):
        leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        return all(np.array_equal(bits(a), bits(b), equal_nan=True) for a, b in leaves)

    return {
        field.name
        for field in dataclasses.fields(before)
        if not equal(getattr(before, field.name), getattr(after, field.name))
    }
