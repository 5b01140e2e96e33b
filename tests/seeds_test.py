"""Seeds side by side: each run is as it would be alone, on disk too, and resumes with the rest."""

import dataclasses
import io
import json
import os

import jax
import numpy as np
import pytest
import rich.console
from tiny_run import TINY, StoppedError, metric_lines

from seqgan_jax.checked import ConfigError
from seqgan_jax.reporting import reading
from seqgan_jax.search.sampling import sample
from seqgan_jax.training import epochs, experiment, seeds, trained, workdir
from seqgan_jax.training.loop import Trainer
from seqgan_jax.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("shared_programs")
FEW = dataclasses.replace(
    TINY,
    schedule=dataclasses.replace(
        TINY.schedule, g_pretrain_epochs=2, d_pretrain_steps=1, rounds=2, d_steps=1
    ),
)


def run(folders, hparams=FEW):
    console = rich.console.Console(file=io.StringIO(), width=200)
    given = list(map(str, folders)) if isinstance(folders, list) else str(folders)
    trainer = Trainer(hparams, given, console)
    before = {name: call._cache_size() for name, call in trainer._opened.calls.items()}
    trainer.run()
    for name, compiled in trainer._opened.calls.items():
        assert compiled._cache_size() - before[name] <= 1
    return console.file.getvalue()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    output = run(folder, dataclasses.replace(FEW, num_seeds=3))
    return [folder / f"seed-{seed}" for seed in range(3)], output


def state_in(folder):
    state = trained.read(str(folder)).state
    return jax.device_get(dataclasses.replace(state, key=jax.random.key_data(state.key)))


def test_each_is_the_run_that_it_would_be_alone(together, tmp_path):
    folders, output = together
    assert "3 seeds side by side" in output
    hparams = dataclasses.replace(FEW, seed=2)
    run([tmp_path], hparams)
    assert (tmp_path / "config.json").read_text() == (folders[2] / "config.json").read_text()
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4),
        state_in(folders[2]).generator, state_in(tmp_path).generator,
    )  # fmt: skip
    for one, other in zip(metric_lines(folders[2]), metric_lines(tmp_path), strict=True):
        assert one.pop("together") == 3
        assert one.keys() == other.keys()
        assert {k: v for k, v in one.items() if isinstance(v, int | str)} == {
            k: v for k, v in other.items() if isinstance(v, int | str)
        }
        assert one.get("mle_loss", 0.0) == pytest.approx(other.get("mle_loss", 0.0), rel=1e-4)
        assert one.get("nll_test", 0.0) == pytest.approx(other.get("nll_test", 0.0), rel=1e-3)
    assert (folders[2] / "summary.json").exists()
    assert (folders[2] / "pretrained").is_dir()


def test_vectorised_they_are_the_same_within_rounding():
    """As accelerators have them; a CPU takes them in turn."""
    models = experiment.build_models(FEW)
    method, key = models.method, jax.random.key(3)
    data = sample(
        models.language_model, models.language_model.init(jax.random.key(4)), jax.random.key(5),
        batch_size=40, length=4,
    )  # fmt: skip

    def round_of(state, data):
        state, more = epochs.pretrain_generator_epoch(state, data, method=method, batch_size=8)
        state, metrics = epochs.generator_steps(
            state, data, method=method, num_steps=1, batch_size=8
        )
        return state.generator, more | metrics

    states = jax.vmap(method.init_state)(jax.random.split(key, 3))
    ways = [jax.jit(seeds.over_seeds(round_of, way))(states, data) for way in (True, False, None)]
    for one, other in zip(jax.tree.leaves(ways[0]), jax.tree.leaves(ways[1]), strict=True):
        assert one.shape[0] == 3
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, ways[1], ways[2])  # here is a CPU


def test_the_folder_of_several_seeds_stands_for_theirs(together):
    folders = list(map(str, together[0]))
    above = os.path.dirname(folders[0])
    assert workdir.expanded([above, folders[1]]) == [*folders, folders[1]]
    name = os.path.basename(above)
    assert [workdir.name_of(folder) for folder in folders] == [f"{name}-{i}" for i in range(3)]
    assert [run.hparams.seed for run in reading.read_runs([above])] == [0, 1, 2]
    with pytest.raises(ConfigError, match=r"holds the runs of 3 seeds; give one, such as .*seed-0"):
        trained.read(above)
    with pytest.raises(
        ConfigError, match=r"--workdir=.*: holds the runs of 3 seeds; .*num_seeds=3"
    ):
        run(above)
    with pytest.raises(ConfigError, match=r"num_seeds=2: --workdir=.* holds a run of one seed"):
        run(together[0][0], dataclasses.replace(FEW, num_seeds=2))


@pytest.mark.parametrize("prng", ["threefry2x32", "rbg"])
def test_each_seed_draws_by_its_own_key(prng):
    def draw(state):
        return jax.random.uniform(jax.random.fold_in(state["key"], 7), (3,))

    states = [{"key": jax.random.key(seed, impl=prng)} for seed in range(3)]
    drawn = jax.jit(seeds.over_seeds(draw, True))(seeds.stacked(states))
    for one, state in zip(drawn, states, strict=True):
        np.testing.assert_array_equal(one, jax.jit(draw)(state))


def test_seeds_differ(together):
    kernels = [state_in(folder).generator["output_kernel"] for folder in together[0]]
    assert not np.allclose(kernels[0], kernels[1])
    assert [metric_lines(folder)[0]["seed"] for folder in together[0]] == [0, 1, 2]
    assert [json.loads((f / "config.json").read_text())["seed"] for f in together[0]] == [0, 1, 2]


def test_the_budget_is_counted(together):
    """2 epochs of 5 batches; a d-step before and 2 in the rounds, of 2 passes of 4 batches."""
    last = metric_lines(together[0][0])[-1]
    assert last["generator_updates"] == 2 * 5 + 2 * 2
    assert last["discriminator_updates"] == (1 + 2) * 2 * 4
    # 16 negatives a d-step; a g-step draws 8 sequences and 2 completions of each of 3 prefixes.
    assert last["sequences_drawn"] == 3 * 16 + 4 * 8 * (1 + 2 * 3)
    # 4 tokens each; a completion draws the 3, 2 or 1 that are missing.
    assert last["tokens_drawn"] == 3 * 16 * 4 + 4 * 8 * (4 + 2 * (3 + 2 + 1))


@pytest.mark.parametrize("stop", [0, 3])
def test_a_kill_between_two_checkpoints_changes_nothing(together, tmp_path, monkeypatch, stop):
    """At its `stop`-th checkpoint the second of three folders gets none, though the first has."""
    folders = [tmp_path / str(seed) for seed in range(3)]
    save, count = RunFolder.save, iter(range(1000))

    def dying(self, *args):
        if self.folder.endswith("1") and next(count) == stop:
            raise StoppedError
        save(self, *args)

    monkeypatch.setattr(RunFolder, "save", dying)
    with pytest.raises(StoppedError):
        run(folders)
    monkeypatch.undo()
    run(folders)
    for mine, theirs in zip(folders, together[0], strict=True):
        jax.tree.map(np.testing.assert_array_equal, state_in(mine), state_in(theirs))
        assert metric_lines(mine) == metric_lines(theirs)
        assert (mine / "samples.txt").read_text() == (theirs / "samples.txt").read_text()


def test_a_finished_run_is_not_begun_anew_for_the_sake_of_others(together, tmp_path):
    with pytest.raises(ConfigError, match=r"has been trained further than"):
        run([together[0][0], tmp_path])
    assert (together[0][0] / "summary.json").exists()
    assert state_in(together[0][0]).step > 0


def test_stacking_and_splitting():
    trees = [{"a": np.arange(2) + i, "b": np.float32(i)} for i in range(3)]
    whole = seeds.stacked(trees)
    assert whole["a"].shape == (3, 2)
    for one, other in zip(seeds.split(whole, 3), trees, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)
    assert seeds.stacked(trees[:1]) is trees[0]
    assert seeds.split(trees[0], 1) == [trees[0]]
    assert seeds.values_of_each({"x": np.array([1.0, 2.0])}, 2) == [{"x": 1.0}, {"x": 2.0}]
    assert seeds.values_of_each({"x": np.float32(3.0)}, 1) == [{"x": 3.0}]
