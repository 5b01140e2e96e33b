"""How a round grows with its sizes, read from what is compiled; and that it needs no host."""

import dataclasses

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from benchmark_test import DENSITY, SMALL

from seqgan_jax.benchmark import phases, scaling, timing
from seqgan_jax.blocks import map_rows
from seqgan_jax.training import experiment
from seqgan_jax.training.compiled import compile_calls

# Large enough that the discriminator's rows come in blocks already.
LARGE = scaling.resized(SMALL, T=12, B=16)


def equations(hparams):
    """Equations of a traced g-step, those inside loops included."""

    def count(jaxpr):
        inner = [sub for eqn in jaxpr.eqns for sub in jax.extend.core.jaxprs_in_params(eqn.params)]
        return len(jaxpr.eqns) + sum(map(count, inner))

    models = experiment.build_models(hparams)
    step = compile_calls(hparams.schedule, models, hparams.sizes)["generator_steps"]
    data = phases.sequences_of(hparams, hparams.schedule.batch_size)
    return count(jax.make_jaxpr(step)(phases.init_state(models), data).jaxpr)


@pytest.mark.parametrize("doubled", ["T", "N", "B", "V", "H"])
@pytest.mark.parametrize(
    "played", [LARGE, scaling.resized(DENSITY, T=12, B=16)], ids=["text_cnn", "density"]
)
def test_the_program_does_not_grow(played, doubled):
    """No Python loop over T, N, B, V or H: what is traced is as long at twice the size."""
    size = scaling.sizes_of(played)[doubled]
    # One more where the rows no longer fill their blocks: a slice takes the padding off.
    assert equations(scaling.resized(played, **{doubled: 2 * size})) <= equations(played) + 1


def test_memory_is_flat_in_rollouts():
    def held(num_rollouts):
        phase = phases.build(scaling.resized(LARGE, N=num_rollouts))["action_values"]
        return timing.compile_call(phase.function, phase.arguments())[2]

    assert held(64) == pytest.approx(held(4), rel=0.001)


@pytest.mark.parametrize("doubled", ["B", "V", "H"])
def test_memory_grows_at_most_linearly(doubled):
    """In T it would at the paper's sizes, where V logits outweigh T ids of each of T prefixes."""

    def held(hparams):
        phase = phases.build(hparams)["g_step"]
        return timing.compile_call(phase.function, phase.arguments())[2]

    size = scaling.sizes_of(LARGE)[doubled]
    assert held(scaling.resized(LARGE, **{doubled: 2 * size})) < 2.05 * held(LARGE)


@pytest.mark.parametrize("played", [SMALL, DENSITY], ids=["text_cnn", "density"])
def test_a_round_needs_no_host(played):
    """Two rounds with transfers refused: on a CPU, those to the device and callbacks are."""
    hparams = dataclasses.replace(
        played, schedule=dataclasses.replace(played.schedule, d_steps=2, d_epochs=1)
    )
    models = experiment.build_models(hparams)
    state, data = phases.init_state(models), phases.sequences_of(hparams, 64)
    compiled = compile_calls(hparams.schedule, models, hparams.sizes)
    end_round = jax.jit(models.method.end_round)
    jax.block_until_ready((state, data))
    with jax.transfer_guard("disallow_explicit"):
        for _ in range(2):
            state, metrics = compiled["generator_steps"](state, data)
            for _ in range(hparams.schedule.d_steps):
                state, more, _ = compiled["discriminator_epochs"](state, data)
            state = end_round(state)
    assert int(state.step) == 2 * (1 + 2 * 4)
    assert np.isfinite([float(value) for value in (metrics | more).values()]).all()


@pytest.mark.parametrize("rows", [1, 5, 8, 11])
def test_rows_in_blocks_are_rows_at_once(rows):
    x = jnp.arange(2.0 * rows).reshape(rows, 2)
    seen = []

    def function(pair):
        seen.append(pair["x"].shape[0])
        return pair["x"] * pair["y"][:, None] + 1.0

    inputs = {"x": x, "y": jnp.arange(rows) + 1.0}
    blocked = map_rows(function, inputs, 4)
    assert max(seen) <= 4
    np.testing.assert_array_equal(blocked, x * inputs["y"][:, None] + 1.0)
