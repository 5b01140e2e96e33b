"""A target that any generator can represent, small enough to compare whole distributions.

V = 5, T = 4: 625 sequences, so that the total variation distance from the target is exact.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from seqgan_jax.methods.method import Method
from seqgan_jax.models.discriminator import text_cnn
from seqgan_jax.models.generator import lstm
from seqgan_jax.models.teacher_forcing import log_probs
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import epochs
from seqgan_jax.types import LanguageModel, Samples

V, T, SEEDS = 5, 4, 5
ALL = jnp.asarray(list(itertools.product(range(V), repeat=T)), jnp.int32)  # [625, 4]

# Each token depends on the one before it, by a table of logits.
TARGET = LanguageModel(
    vocab_size=V,
    init=lambda key: 1.5 * jax.random.normal(key, (V, V)),
    initial_state=lambda params, batch_size: jnp.zeros((batch_size, 0)),
    step=lambda params, state, token: (state, params[token]),
)
TABLE = TARGET.init(jax.random.key(7))
GENERATOR = lstm(V, 8, 16)
CNN = text_cnn(V, 8, ((1, 8), (2, 16), (3, 16), (4, 16)), dropout_rate=0.0)


@functools.cache
def real(number: int = 2048) -> Samples:
    """Training sequences, drawn from the target."""
    return sample(TARGET, TABLE, jax.random.key(8), batch_size=number, length=T)


def probabilities(language_model, params):
    """Of every sequence, `[625]`."""
    return jnp.exp(log_probs(language_model, params, ALL).sum(axis=1))


def distance(language_model, params):
    """Total variation from the target, 0 to 1."""
    gap = probabilities(language_model, params) - probabilities(TARGET, TABLE)
    return 0.5 * jnp.abs(gap).sum()


def distances(
    method: Method,
    *,
    language_model=GENERATOR,
    pretrain_epochs=0,
    d_pretrain_steps=5,
    rounds=100,
    g_steps=1,
    d_steps=1,
    d_samples=128,
    batch_size=64,
):
    """Distances from the target before the rounds and after, `[SEEDS]` each; one vmapped run.

    Maximum likelihood for `pretrain_epochs` comes first; a d-step is one pass over `d_samples`
    negatives and as many positives in batches of 64.
    """
    data = real()

    def negatives(state, key, number):
        return sample(language_model, state.generator, key, batch_size=number, length=T)

    def d_step(state, _):
        return epochs.discriminator_epochs(
            state, data, method=method, sampler=negatives, num_samples=d_samples, num_epochs=1,
            batch_size=64,
        )[0], None  # fmt: skip

    def pretrain(state, _):
        return epochs.pretrain_generator_epoch(
            state, data, method=method, batch_size=batch_size
        )[0], None  # fmt: skip

    def a_round(state, _):
        state, _ = epochs.generator_steps(
            state, data, method=method, num_steps=g_steps, batch_size=batch_size
        )
        if method.uses_discriminator:
            state, _ = jax.lax.scan(d_step, state, None, length=d_steps)
        return method.end_round(state), None

    @jax.jit
    @jax.vmap
    def run(key):
        state = method.init_state(key)
        state, _ = jax.lax.scan(pretrain, state, None, length=pretrain_epochs)
        if method.uses_discriminator:
            state, _ = jax.lax.scan(d_step, state, None, length=d_pretrain_steps)
        before = distance(language_model, state.generator)
        state, _ = jax.lax.scan(a_round, state, None, length=rounds)
        return before, distance(language_model, state.generator)

    return tuple(np.asarray(each) for each in run(jax.random.split(jax.random.key(0), SEEDS)))
