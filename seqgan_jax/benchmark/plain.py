"""The plain reference as calls to be timed; it is kept with the tests, and handed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqgan_jax.benchmark.phases import init_state, labelled, sequences_of
from seqgan_jax.benchmark.timing import median_seconds
from seqgan_jax.hparams import HParams
from seqgan_jax.methods import optimizers
from seqgan_jax.training.experiment import build_models

_RUNS = 5


class PlainParts:
    """Seconds of the plain reference's parts, each measured once, when first asked for.

    Args of the constructor:
      hparams: sizes.
      plain: the module tests/plain_reference.py. It knows the paper's LSTM and text CNN; parts in
        which another model plays have no seconds.
    """

    def __init__(self, hparams: HParams, plain: Any) -> None:
        lstm, text_cnn = hparams.model.cell == "lstm", hparams.discriminator.kind == "text_cnn"
        known = {
            *(("mle_step", "sample", "nll", "policy_gradient") if lstm else ()),
            *(("d_step", "d_scores") if text_cnn else ()),
            *(("rollout",) if lstm and text_cnn else ()),
        }
        calls = _calls(hparams, plain)
        self._calls = {name: call for name, call in calls.items() if name in known}
        self._seconds: dict[str, float] = {}

    def seconds(self, parts: dict[str, float]) -> float | None:
        """The sum over part names of how many there are times the median of one."""
        if not parts.keys() <= self._calls.keys():
            return None
        for name in parts:
            if name not in self._seconds:
                self._seconds[name] = median_seconds(self._calls[name], _RUNS)
        return sum(number * self._seconds[name] for name, number in parts.items())


def _calls(hparams: HParams, plain: Any) -> dict[str, Callable[[], Any]]:
    """Name -> call on one batch; `rollout` completes each prefix of a batch once."""
    state = init_state(build_models(hparams))
    training, schedule, length = hparams.training, hparams.schedule, hparams.sizes.length
    generator, discriminator = state.generator, state.discriminator
    tokens = sequences_of(hparams, schedule.batch_size).tokens
    pool = labelled(hparams, schedule.d_batch_size)
    g_optimizer, d_optimizer = optimizers.generator(training), optimizers.discriminator(training)
    g_opt_state = g_optimizer.init(generator)
    d_opt_state = d_optimizer.init(discriminator)
    values = jnp.full(tokens.shape, 0.5)

    def key() -> jax.Array:
        return jax.random.key(1)

    def reward(finished: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(plain.discriminator_logits(discriminator, finished))

    return {
        "mle_step": lambda: plain.mle_step(generator, g_opt_state, tokens, optimizer=g_optimizer),
        "sample": lambda: plain.sample(
            generator, key(), batch_size=schedule.batch_size, length=length
        ),
        "nll": lambda: plain.log_probs(generator, tokens),
        "d_step": lambda: plain.discriminator_step(
            discriminator, d_opt_state, pool.tokens, pool.labels, key(),
            optimizer=d_optimizer, l2=training.d_l2,
            dropout_rate=hparams.discriminator.dropout_rate,
        ),
        "d_scores": lambda: reward(tokens),
        "rollout": lambda: plain.action_values(generator, reward, tokens, key(), num_rollouts=1),
        "policy_gradient": lambda: plain.policy_gradient_step(
            generator, g_opt_state, tokens, values, optimizer=g_optimizer
        ),
    }  # fmt: skip
