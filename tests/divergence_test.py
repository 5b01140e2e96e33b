"""What is NaN or infinite ends a run where it arises, by its name, and is never saved."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import TINY, metric_lines, run

from seqgan_jax.methods.method import Method
from seqgan_jax.methods.state import TrainState
from seqgan_jax.training import divergence, epochs, seeds
from seqgan_jax.training.checkpoint import Checkpoints
from seqgan_jax.training.divergence import DivergedError
from seqgan_jax.training.loop import Trainer
from seqgan_jax.training.plan import Call
from seqgan_jax.types import Samples

pytestmark = pytest.mark.usefixtures("shared_programs")
DATA = Samples(jnp.zeros((6, 2), jnp.int32), jnp.ones((6, 2), bool))
CALL = Call("adversarial", 3, "discriminator_epochs", True)


def state_of(step=0, **fields):
    none = jnp.zeros(())
    given = {field.name: none for field in dataclasses.fields(TrainState)} | {
        "step": jnp.int32(step), "key": jax.random.key(0), "baseline": jnp.float32(jnp.nan),
        "best": None,
    }  # fmt: skip
    return TrainState(**given | fields)


def method_with(values_of):
    """A method that does nothing and has the metrics that a function of the state gives."""

    def step(state, batch):
        del batch
        return dataclasses.replace(state, step=state.step + 1), values_of(state)

    return Method(lambda key: None, step, step, step)


def bad_from(first, value=jnp.nan, until=100):
    def values_of(state):
        step = state.step
        return {
            "fine": step.astype(jnp.float32),
            "bad": jnp.where((step >= first) & (step < until), value, 1.0),
            "later": jnp.where(step >= first + 1, value, 1.0),
        }

    return values_of


def calls(method):
    """Each of a run's calls, of 3, 4 and 2 x 2 steps."""

    def sampler(state, key, number):
        del state, key
        return Samples(jnp.zeros((number, 2), jnp.int32), jnp.ones((number, 2), bool))

    return {
        3: lambda state: epochs.pretrain_generator_epoch(
            state, DATA, method=method, batch_size=2
        ),
        5: lambda state: epochs.generator_steps(
            state, DATA, method=method, num_steps=5, batch_size=2
        ),
        4: lambda state: epochs.discriminator_epochs(
            state, DATA, method=method, sampler=sampler, num_samples=2, num_epochs=2, batch_size=2
        )[:2],
    }  # fmt: skip


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("num_steps", [3, 5, 4])
def test_the_first_bad_step_of_a_call_is_named(num_steps, value):
    """Steps begin at 10; a value is bad in the second, which of two epochs is in the first."""
    run_call = jax.jit(calls(method_with(bad_from(11, value)))[num_steps])
    state, metrics = run_call(state_of(10))
    words = r"adversarial round 3, step 12: bad is not finite \(later later\), in step 2 of "
    words += rf"{num_steps} of discriminator_epochs; the newest checkpoint in somewhere"
    with pytest.raises(DivergedError, match=words):
        divergence.check_metrics(
            CALL, num_steps, state, ["somewhere"], seeds.values_of_each(metrics, 1)
        )


def test_what_the_last_epoch_has_no_more_is_found_too():
    """The metrics told are those of the last epoch, steps 2 and 3."""
    run_call = jax.jit(calls(method_with(bad_from(0, until=1)))[4])
    state, metrics = run_call(state_of())
    assert metrics["bad"] == 1.0
    with pytest.raises(
        DivergedError, match=r"step 1: bad is not finite \(later later\), in step 1"
    ):
        divergence.check_metrics(CALL, 4, state, ["x"], seeds.values_of_each(metrics, 1))


@pytest.mark.parametrize("num_steps", [3, 5, 4])
def test_finite_metrics_are_told_alone(num_steps):
    run_call = jax.jit(calls(method_with(bad_from(100)))[num_steps])
    state, metrics = run_call(state_of())
    told = divergence.check_metrics(CALL, num_steps, state, ["x"], seeds.values_of_each(metrics, 1))
    mean = 2.5 if num_steps == 4 else (num_steps - 1) / 2
    assert told == [{"fine": mean, "bad": 1.0, "later": 1.0}]


def test_a_mean_that_overflows_is_of_no_step():
    method = method_with(lambda state: {"large": jnp.full((), 3e38)})
    state, metrics = jax.jit(calls(method)[5])(state_of())
    with pytest.raises(DivergedError, match=r"step 5: large is not finite, in the mean over 5"):
        divergence.check_metrics(CALL, 5, state, ["x"], seeds.values_of_each(metrics, 1))


def test_of_several_seeds_the_bad_one_is_named():
    states = seeds.stacked([state_of(10), state_of(10), state_of(10)])
    states = dataclasses.replace(
        states, generator={"kernel": jnp.array([[1.0, 2.0], [1.0, 2.0], [1.0, jnp.inf]])}
    )
    method = method_with(
        lambda state: {"bad": jnp.where(state.step == 12, state.generator["kernel"].sum(), 1.0)}
    )
    state, metrics = seeds.over_seeds(calls(method)[3], True)(states)
    values = seeds.values_of_each(metrics, 3)
    folders = ["run/seed-0", "run/seed-1", "run/seed-2"]
    words = r"step 13: bad .* in step 3 of 3 .*neither is, after .*, generator/kernel; .*run/seed-2"
    with pytest.raises(DivergedError, match=words):
        divergence.check_metrics(CALL, 3, state, folders, values)
    with pytest.raises(DivergedError, match=r"generator/kernel is not finite.*run/seed-2"):
        divergence.check_state(CALL, state, folders)


def test_tensors_are_named_by_their_paths():
    nan, inf = jnp.full((2, 2), jnp.nan), jnp.full((2,), jnp.inf)
    fine = {"kernel": jnp.ones((2, 2)), "least": jnp.float32(jnp.inf), "count": jnp.int32(3)}
    divergence.check_state(CALL, state_of(generator=fine, g_opt_state=(fine,)), ["x"])
    state = state_of(
        generator={"lstm": {"kernel": nan, "bias": jnp.ones(2)}},
        discriminator={"bias": inf},
        d_opt_state=({"mu": {"bias": nan[0]}, "scale": jnp.float32(jnp.nan)},),
    )
    with pytest.raises(DivergedError) as caught:
        divergence.check_state(CALL, state, ["x"])
    named = "generator/lstm/kernel, discriminator/bias, d_opt_state/0/mu/bias, d_opt_state/0/scale "
    assert f"round 3: {named}is not finite" in str(caught.value)
    many = state_of(generator=[nan] * 9)
    with pytest.raises(DivergedError, match=r"generator/5 and 3 more is not finite"):
        divergence.check_state(CALL, many, ["x"])


@pytest.mark.parametrize("at", [2, 4])  # where maximum likelihood ends; a d-step
def test_parameters_that_are_not_finite_are_never_saved(tmp_path, monkeypatch, at):
    """Though the metrics of the call were: its last update overflowed."""
    run_call, count = Trainer._run_call, iter(range(1000))

    def spoilt(self, call):
        trained_on = run_call(self, call)
        if next(count) == at:
            generator = self._state.generator
            spoilt = {**generator, "output_bias": generator["output_bias"].at[1].set(jnp.nan)}
            self._state = dataclasses.replace(self._state, generator=spoilt)
        return trained_on

    monkeypatch.setattr(Trainer, "_run_call", spoilt)
    with pytest.raises(DivergedError, match=r"generator/output_bias is not finite after it, and"):
        run(TINY, tmp_path)
    saved = Checkpoints(str(tmp_path / "checkpoints"), "")
    assert saved.newest(print) == at
    saved.close()
    assert any((tmp_path / "pretrained").glob("*")) == (at > 2)
    assert all(
        math.isfinite(value) for line in metric_lines(tmp_path) for value in line.values()
        if isinstance(value, float)
    )  # fmt: skip
    monkeypatch.undo()
    assert "resuming after" in run(TINY, tmp_path)
    assert np.isfinite(metric_lines(tmp_path)[-1]["nll_test"])
