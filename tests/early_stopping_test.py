"""Early stopping: which generator goes on, when the phase ends, and that a kill changes nothing."""

import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console
import toy_target as toy
from tiny_run import TINY, StoppedError, metric_lines
from tiny_run import run as run_whole

from seqgan_jax.hparams import TrainingHParams
from seqgan_jax.methods.mle import mle
from seqgan_jax.metrics.likelihood import negative_log_likelihood
from seqgan_jax.training import early_stopping, seeds, trained, writers
from seqgan_jax.training.early_stopping import Best, go_back, is_over, keep_best
from seqgan_jax.training.loop import Trainer

pytestmark = pytest.mark.usefixtures("shared_programs")
HELDOUT = toy.real(64)
METHOD = mle(toy.TARGET, toy.CNN, TrainingHParams())


def state_of(table, best):
    """A state whose generator is a table, and what has been kept so far."""
    state = early_stopping.initial_state(
        METHOD, dataclasses.replace(TINY.schedule, g_patience=2), jax.random.key(0)
    )
    return dataclasses.replace(state, generator=table, best=best)


def nll_of(table):
    return float(negative_log_likelihood(toy.TARGET, table, HELDOUT))


def kept(state, patience=2):
    return keep_best(state, HELDOUT, language_model=toy.TARGET, patience=patience)


def of_run(table, count):
    """A generator, and its optimiser's moments, known by their value."""
    optimiser = METHOD.init_state(jax.random.key(0)).mle_opt_state
    filled = jax.tree.map(lambda leaf: jnp.full_like(leaf, count), optimiser)
    return {"generator": table, "mle_opt_state": filled}


def test_the_lowest_nll_is_kept_and_epochs_are_counted():
    flat, right = of_run(jnp.zeros((toy.V, toy.V)), 1), of_run(toy.TABLE, 2)
    start = Best(**flat, nll=jnp.float32(jnp.inf), epoch=jnp.int32(0), epochs=jnp.int32(0))
    state = kept(state_of(flat["generator"], start))
    assert float(state.best.nll) == pytest.approx(np.log(toy.V), abs=1e-5)  # uniform tokens
    assert (int(state.best.epoch), int(state.best.epochs)) == (1, 1)
    state = kept(dataclasses.replace(state, **right))
    assert float(state.best.nll) == pytest.approx(nll_of(toy.TABLE))
    assert nll_of(toy.TABLE) < np.log(toy.V)
    assert (int(state.best.epoch), int(state.best.epochs)) == (2, 2)
    state = kept(dataclasses.replace(state, **flat))
    np.testing.assert_array_equal(state.best.generator, toy.TABLE)
    assert (int(state.best.epoch), int(state.best.epochs)) == (2, 3)
    assert not is_over(state.best, 2)
    state = kept(dataclasses.replace(state, **flat))
    assert is_over(state.best, 2)
    back = go_back(state)
    np.testing.assert_array_equal(back.generator, toy.TABLE)
    np.testing.assert_array_equal(back.rollout, toy.TABLE)
    for leaf in jax.tree.leaves(back.mle_opt_state):
        assert (leaf == 2).all()


def test_what_comes_after_the_patience_is_not_looked_at():
    """So that a seed beside others that go on ends as it would alone."""
    flat = of_run(jnp.zeros((toy.V, toy.V)), 1)
    over = Best(**flat, nll=jnp.float32(9.0), epoch=jnp.int32(1), epochs=jnp.int32(3))
    state = kept(state_of(toy.TABLE, over))
    for new, old in zip(jax.tree.leaves(state.best), jax.tree.leaves(over), strict=True):
        np.testing.assert_array_equal(new, old)


def test_each_of_several_seeds_keeps_its_own():
    flat, right = of_run(jnp.zeros((toy.V, toy.V)), 1), of_run(toy.TABLE, 2)
    start = Best(**flat, nll=jnp.float32(jnp.inf), epoch=jnp.int32(0), epochs=jnp.int32(0))

    def both(*players):
        # Without a key: nothing is drawn, and two of one key may not stand side by side.
        state = dataclasses.replace(state_of(toy.TABLE, start), key=jnp.zeros(()))
        return seeds.stacked([dataclasses.replace(state, **each) for each in players])

    together = seeds.over_seeds(kept, vmapped=True)(both(flat, right))
    together = dataclasses.replace(both(right, flat), best=together.best)
    back = jax.vmap(go_back)(seeds.over_seeds(kept, vmapped=True)(together))
    np.testing.assert_array_equal(back.best.epoch, [2, 1])
    for table in back.generator:
        np.testing.assert_array_equal(table, toy.TABLE)


def test_without_patience_there_is_no_room_for_a_best():
    state = early_stopping.initial_state(METHOD, TINY.schedule, jax.random.key(0))
    assert state.best is None


# In a run.

# 40 training sequences are soon known by heart.
STOPPING = dataclasses.replace(
    TINY,
    training=dataclasses.replace(TINY.training, mle_learning_rate=0.1),
    schedule=dataclasses.replace(TINY.schedule, g_pretrain_epochs=60, g_patience=3, rounds=1),
)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    return folder, run_whole(STOPPING, folder)


def test_a_run_stops_early_and_goes_on_from_its_best_epoch(stopped):
    folder, output = stopped
    lines = [line for line in writers.read_metrics(str(folder)) if line["phase"] == "g_pretrain"]
    epochs = len(lines)
    assert 3 < epochs < 60
    assert f"ends after epoch {epochs}; lowest NLL_test after epoch {epochs - 3}" in output
    # The last line is of the generator that goes on, so that none evaluated has a lower NLL_test.
    evaluated = [line["nll_test"] for line in lines if "nll_test" in line]
    assert evaluated[-1] == pytest.approx(min(evaluated), abs=1e-5)
    run = trained.read(str(folder), pretrained=True)
    assert int(run.state.best.epoch) == epochs - 3
    jax.tree.map(np.testing.assert_array_equal, run.state.generator, run.state.best.generator)
    after = [line["phase"] for line in writers.read_metrics(str(folder))][epochs:]
    assert after == ["d_pretrain", "d_pretrain", "adversarial"]


@pytest.mark.parametrize("stop", [2, 7])
def test_a_kill_changes_nothing(stopped, tmp_path, monkeypatch, stop):
    with pytest.raises(StoppedError):
        run_whole(STOPPING, tmp_path, stop, monkeypatch)
    run_whole(STOPPING, tmp_path)
    assert metric_lines(tmp_path) == metric_lines(stopped[0])


def test_a_best_at_the_last_epoch_is_gone_back_to_as_well(tmp_path):
    schedule = dataclasses.replace(STOPPING.schedule, g_pretrain_epochs=2, rounds=0)
    console = rich.console.Console(file=io.StringIO(), width=200)
    Trainer(dataclasses.replace(STOPPING, schedule=schedule), str(tmp_path), console).run()
    assert "maximum likelihood ends after epoch 2" in console.file.getvalue()
