"""The phases of a run as calls to be timed, each as the training loop makes it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqgan_jax.benchmark import work
from seqgan_jax.benchmark.limits import Work
from seqgan_jax.hparams import HParams
from seqgan_jax.methods.seqgan import reward_of
from seqgan_jax.methods.state import TrainState
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.search.rollout import action_values
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import epochs
from seqgan_jax.training.compiled import compile_calls
from seqgan_jax.training.experiment import Models, build_models
from seqgan_jax.types import Array, LabelledBatch, Metrics, Reward, Samples

_SEQUENCES = 10_000  # of the sampling and likelihood phases: the size of an evaluation
_MLE_STEPS, _D_STEPS = 32, 8  # steps in one timed call, in a scan as in training


class Phase(NamedTuple):
    """One phase; `function(carry, inputs) -> (carry, result)` is what is compiled and timed."""

    title: str
    function: Callable[[Any, Any], tuple[Any, Any]]
    arguments: Callable[[], tuple[Any, Any]]  # made anew, for a timed call consumes its carry
    repeats: int  # times the phase happens in one call
    items: int  # what one of them gets through
    unit: str  # of the items
    work: Work  # of one of them
    plain: dict[str, float]  # plain reference's parts -> how many of each make one of them


def sequences_of(hparams: HParams, number: int, seed: int = 0) -> Samples:
    """Uniform tokens: speed does not depend on which they are."""
    shape = (number, hparams.sizes.length)
    tokens = jax.random.randint(jax.random.key(seed), shape, 0, hparams.sizes.vocab_size)
    return Samples(tokens.astype(jnp.int32), jnp.ones(shape, bool))


def labelled(hparams: HParams, number: int) -> LabelledBatch:
    """As many called real as called generated."""
    tokens, mask = sequences_of(hparams, number)
    return LabelledBatch(tokens, mask, (jnp.arange(number) % 2).astype(jnp.float32))


def build(hparams: HParams) -> dict[str, Phase]:
    """All phases at the sizes of a config, by the name that selects them."""
    models = build_models(hparams)
    makers = {
        "mle_step": _mle_step,
        "sampling": _sampling,
        "nll": _nll,
        "d_step": _d_step,
        "d_scoring": _d_scoring,
        "action_values": _action_values,
        "g_step": _g_step,
        "d_epochs": _d_epochs,
    }
    return {name: make(hparams, models) for name, make in makers.items()}


def init_state(models: Models) -> TrainState:
    """A fresh training state."""
    return jax.jit(models.method.init_state)(jax.random.key(0))


def _call(hparams: HParams, models: Models, name: str, number: int) -> Callable[..., Any]:
    """One of the training loop's calls, of so many real sequences."""
    sizes = hparams.sizes._replace(num_train=number)
    return compile_calls(hparams.schedule, models, sizes)[name]


def _reward(hparams: HParams, models: Models, state: TrainState) -> Reward:
    return reward_of(
        state, language_model=models.language_model, classifier=models.classifier,
        hparams=hparams.training,
    )  # fmt: skip


def _mle_step(hparams: HParams, models: Models) -> Phase:
    batch_size = hparams.schedule.batch_size
    number = _MLE_STEPS * batch_size
    return Phase(
        f"MLE step, B {batch_size}",
        _call(hparams, models, "pretrain_generator_epoch", number),
        lambda: (init_state(models), sequences_of(hparams, number)),
        _MLE_STEPS,
        batch_size * hparams.sizes.length,
        "tokens",
        work.generator_gradient(hparams),
        {"mle_step": 1},
    )


def _sampling(hparams: HParams, models: Models) -> Phase:
    length, batch_size = hparams.sizes.length, hparams.schedule.batch_size

    def draw(key: Array, params: Any) -> tuple[Array, Array]:
        use, key = jax.random.split(key)
        drawn = sample(models.language_model, params, use, batch_size=_SEQUENCES, length=length)
        return key, drawn.tokens

    return Phase(
        f"sampling {_SEQUENCES:,}",
        draw,
        lambda: (jax.random.key(1), init_state(models).generator),
        1,
        _SEQUENCES * length,
        "tokens",
        work.sequences(hparams, _SEQUENCES),
        {"sample": _SEQUENCES / batch_size},
    )


def _nll(hparams: HParams, models: Models) -> Phase:
    def judge(step: Array, inputs: tuple[Any, Samples]) -> tuple[Array, Array]:
        params, samples = inputs
        return step + 1, negative_log_likelihood(models.language_model, params, samples)

    return Phase(
        f"NLL of {_SEQUENCES:,}",
        judge,
        lambda: (
            jnp.zeros((), jnp.int32),
            (init_state(models).generator, sequences_of(hparams, _SEQUENCES)),
        ),
        1,
        _SEQUENCES * hparams.sizes.length,
        "tokens",
        work.sequences(hparams, _SEQUENCES),
        {"nll": _SEQUENCES / hparams.schedule.batch_size},
    )


def _d_step(hparams: HParams, models: Models) -> Phase:
    batch_size = hparams.schedule.d_batch_size

    def steps(state: Any, pool: LabelledBatch) -> tuple[Any, Metrics]:
        batches = jax.tree.map(lambda x: x.reshape(_D_STEPS, batch_size, *x.shape[1:]), pool)
        return jax.lax.scan(
            lambda state, batch: models.method.discriminator_step(state, batch), state, batches
        )

    return Phase(
        f"D step, B {batch_size}",
        steps,
        lambda: (init_state(models), labelled(hparams, _D_STEPS * batch_size)),
        _D_STEPS,
        batch_size,
        "sequences",
        work.discriminator_gradient(hparams),
        {"d_step": 1},
    )


def _d_scoring(hparams: HParams, models: Models) -> Phase:
    number = work.completions(hparams)

    def score(step: Array, inputs: tuple[TrainState, Samples]) -> tuple[Array, Array]:
        state, samples = inputs
        return step + 1, _reward(hparams, models, state)(samples.tokens, samples.mask)

    return Phase(
        f"D scoring of {number:,}",
        score,
        lambda: (
            jnp.zeros((), jnp.int32),
            (init_state(models), sequences_of(hparams, number)),
        ),
        1,
        number,
        "sequences",
        work.judged(hparams).times(number),
        {"d_scores": number / hparams.schedule.batch_size},
    )


def _action_values(hparams: HParams, models: Models) -> Phase:
    batch_size, training = hparams.schedule.batch_size, hparams.training

    def search(key: Array, inputs: tuple[TrainState, Array]) -> tuple[Array, Array]:
        state, tokens = inputs
        use, key = jax.random.split(key)
        values = action_values(
            models.language_model, state.generator, _reward(hparams, models, state), tokens, use,
            num_rollouts=training.num_rollouts, chunk_size=training.rollout_chunk,
        )  # fmt: skip
        return key, values

    def arguments() -> tuple[Array, tuple[TrainState, Array]]:
        return jax.random.key(1), (init_state(models), sequences_of(hparams, batch_size).tokens)

    return Phase(
        f"action values, B {batch_size}, N {training.num_rollouts}",
        search,
        arguments,
        1,
        work.draws(hparams),
        "tokens",
        work.action_values(hparams),
        {"rollout": training.num_rollouts},
    )


def _g_step(hparams: HParams, models: Models) -> Phase:
    batch_size = hparams.schedule.batch_size
    one = functools.partial(
        epochs.generator_steps, method=models.method, num_steps=1, batch_size=batch_size
    )
    return Phase(
        "G step",
        one,
        lambda: (init_state(models), sequences_of(hparams, batch_size)),
        1,
        work.draws(hparams) + batch_size * hparams.sizes.length,
        "tokens",
        work.generator_step(hparams),
        {"sample": 1, "rollout": hparams.training.num_rollouts, "policy_gradient": 1},
    )


def _d_epochs(hparams: HParams, models: Models) -> Phase:
    schedule = hparams.schedule
    function = _call(hparams, models, "discriminator_epochs", schedule.d_samples)

    def d_step(state: Any, data: Samples) -> tuple[Any, Metrics]:
        state, metrics, _ = function(state, data)
        return state, metrics

    steps = work.discriminator_steps(hparams)
    return Phase(
        f"one d-step: {schedule.d_samples:,} negatives, k {schedule.d_epochs}",
        d_step,
        lambda: (init_state(models), sequences_of(hparams, schedule.d_samples)),
        1,
        steps * schedule.d_batch_size,
        "sequences",
        work.discriminator_epochs(hparams),
        {"sample": schedule.d_samples / schedule.batch_size, "d_step": steps},
    )
