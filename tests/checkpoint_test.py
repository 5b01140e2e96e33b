"""Checkpoints: whole or not there, verified when read, the newest and the best kept."""

import dataclasses
import json
import os
import shutil

import jax
import numpy as np
import pytest
from tiny_run import TINY, metric_lines, run

from seqgan_jax.checked import ConfigError
from seqgan_jax.training import experiment, manifest, trained
from seqgan_jax.training.checkpoint import Checkpoints, Progress

pytestmark = pytest.mark.usefixtures("shared_programs")
NUM_CALLS = 3 + 2 + 3 * (1 + 2)


@pytest.fixture(scope="module")
def init_state():
    return jax.jit(experiment.build_models(TINY).method.init_state)


def written(folder, init_state, scores, **keep):
    """Checkpoints after 1, 2... calls, of another seed each."""
    saved = Checkpoints(str(folder), **keep)
    for calls, score in enumerate(scores, 1):
        saved.save(init_state(jax.random.key(calls)), Progress(calls=calls, lines=calls), score)
    return saved


def assert_is(state, expected):
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        if jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        np.testing.assert_array_equal(one, other)


def files_below(folder):
    return sorted(
        os.path.join(inner, name) for inner, _, names in os.walk(folder) for name in names
    )


@pytest.mark.parametrize(
    ("keep", "scores", "left", "best"),
    [
        ({"keep_last": 1}, [3.0, 1.0, 2.0], [3], 3),
        ({"keep_last": 2}, [3.0, 1.0, 2.0, None], [3, 4], 3),
        ({"keep_last": 1, "keep_best": 1}, [3.0, 1.0, 2.0, 1.0, 5.0], [2, 5], 2),
        ({"keep_last": 1, "keep_best": 2}, [3.0, 1.0, 2.0, 4.0, None, None], [2, 3, 6], 2),
        ({"keep_last": 3, "keep_best": 1}, [None, None, -2.0, None], [2, 3, 4], 3),
        ({"keep_last": 2, "keep_best": 1}, [None, None, None], [2, 3], None),
    ],
)
def test_the_newest_and_the_best_are_kept(tmp_path, init_state, keep, scores, left, best):
    saved = written(tmp_path, init_state, scores, **keep)
    assert saved.steps() == left
    assert saved.best() == best
    assert saved.newest(pytest.fail) == len(scores)
    assert sorted(os.listdir(tmp_path)) == sorted(map(str, left))
    for calls in left:
        state, progress = saved.restore(init_state(jax.random.key(0)), calls)
        assert_is(state, init_state(jax.random.key(calls)))
        assert progress == Progress(calls=calls, lines=calls)


def test_only_what_would_be_kept_is_among_the_best(tmp_path, init_state):
    saved = written(tmp_path, init_state, [3.0, 1.0, 2.0, 4.0], keep_best=2)
    assert [saved.is_among_best(score) for score in (0.5, 1.5, 2.0, 2.5)] == [
        True, True, False, False,
    ]  # fmt: skip
    none = Checkpoints(str(tmp_path / "none"), keep_best=0)
    assert not none.is_among_best(0.0)
    assert Checkpoints(str(tmp_path / "none"), keep_best=1).is_among_best(9.0)


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


def flip(path):
    with open(path, "r+b") as file:
        content = bytearray(file.read())
        content[len(content) // 2] ^= 0x10
        file.seek(0)
        file.write(content)


@pytest.mark.parametrize("harm", [truncate, flip, os.remove], ids=["truncate", "flip", "delete"])
def test_whatever_file_is_damaged_the_one_before_is_taken(tmp_path, init_state, harm):
    saved = written(tmp_path, init_state, [None, None], keep_last=2)
    shutil.copytree(tmp_path / "2", tmp_path / "whole")
    names = [os.path.relpath(path, tmp_path / "2") for path in files_below(tmp_path / "2")]
    assert "manifest.json" in names
    assert len(names) > 10
    for name in names:
        if os.path.getsize(tmp_path / "2" / name) == 0:
            continue  # an empty file cannot be other than it is, but by being gone
        harm(tmp_path / "2" / name)
        told = []
        assert saved.newest(told.append) == 1, name
        assert len(told) == 1
        assert name in told[0]
        assert str(tmp_path / "2") in told[0]
        shutil.rmtree(tmp_path / "2")
        shutil.copytree(tmp_path / "whole", tmp_path / "2")
    assert saved.newest(pytest.fail) == 2


def test_where_none_is_whole_it_is_an_error_that_names_them(tmp_path, init_state):
    saved = written(tmp_path, init_state, [None, None], keep_last=2)
    flip(tmp_path / "1" / "manifest.json")
    os.remove(tmp_path / "2" / "_CHECKPOINT_METADATA")
    with pytest.raises(ConfigError, match="none of the checkpoints can be read") as error:
        saved.newest(lambda words: None)
    assert f"{tmp_path / '1'}: manifest.json is damaged" in str(error.value)
    assert f"{tmp_path / '2'}: _CHECKPOINT_METADATA: No such file" in str(error.value)


def test_another_format_is_refused_by_name(tmp_path, init_state, monkeypatch):
    monkeypatch.setattr(manifest, "FORMAT", 3)
    saved = written(tmp_path, init_state, [None])
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"checkpoint of format 3, .*reads format 2"):
        saved.newest(pytest.fail)
    # Format 1 had no manifest.
    os.remove(tmp_path / "1" / "manifest.json")
    with pytest.raises(ConfigError, match=r"manifest.json is missing \(checkpoints of format 1"):
        saved.newest(lambda words: None)


def test_another_models_checkpoint_is_refused_by_name(tmp_path, init_state):
    saved = written(tmp_path, init_state, [None])
    wider = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, hidden_dim=6))
    like = jax.eval_shape(experiment.build_models(wider).method.init_state, jax.random.key(0))
    with pytest.raises(ConfigError, match=r"is of another model: generator/.* is float32\["):
        saved.restore(like, 1)


def test_what_a_kill_has_left_is_no_checkpoint_and_goes(tmp_path, init_state):
    saved = written(tmp_path, init_state, [None])
    for name in ("2.partial", "2.partial.orbax-checkpoint-tmp", "1.dropped"):
        shutil.copytree(tmp_path / "1", tmp_path / name)
    assert saved.steps() == [1]
    saved.save(init_state(jax.random.key(2)), Progress(calls=2))
    assert os.listdir(tmp_path) == ["2"]


def test_one_of_the_same_calls_is_replaced(tmp_path, init_state):
    saved = written(tmp_path, init_state, [None])
    saved.save(init_state(jax.random.key(7)), Progress(calls=1))
    assert_is(saved.restore(init_state(jax.random.key(0)), 1)[0], init_state(jax.random.key(7)))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    keep = dataclasses.replace(TINY.evaluation, keep_last=3)
    hparams = dataclasses.replace(TINY, evaluation=keep)
    run(hparams, folder)
    return hparams, folder


def test_a_run_goes_back_to_the_checkpoint_before_and_says_so(uninterrupted, tmp_path):
    hparams, whole = uninterrupted
    folder = shutil.copytree(whole, tmp_path / "run")
    for calls in (NUM_CALLS, NUM_CALLS - 1):
        damaged = files_below(folder / "checkpoints" / str(calls))[-1]
        flip(damaged)
    output = run(hparams, folder)
    for calls in (NUM_CALLS, NUM_CALLS - 1):
        assert f"warning: {folder}/checkpoints/{calls}: " in output
        assert (folder / "checkpoints" / f"{calls}.damaged").is_dir()
    assert f"going back to the checkpoint before it, after {NUM_CALLS - 2} calls" in output
    assert f"resuming after {NUM_CALLS - 2} of {NUM_CALLS} calls" in output
    assert metric_lines(folder) == metric_lines(whole)
    assert_is(trained.read(str(folder)).state, trained.read(str(whole)).state)
    assert (folder / "samples.txt").read_text() == (whole / "samples.txt").read_text()


def test_a_run_without_a_whole_checkpoint_never_begins_anew(uninterrupted, tmp_path):
    hparams, whole = uninterrupted
    folder = shutil.copytree(whole, tmp_path / "run")
    lines = (folder / "metrics.jsonl").read_text()
    for name in os.listdir(folder / "checkpoints"):
        os.remove(folder / "checkpoints" / name / "manifest.json")
    with pytest.raises(ConfigError, match="none of the checkpoints can be read"):
        run(hparams, folder)
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(ConfigError, match="is finished, but its checkpoints are gone"):
        run(hparams, folder)
    assert (folder / "metrics.jsonl").read_text() == lines


def test_metrics_that_have_lost_lines_are_not_gone_on_with(uninterrupted, tmp_path):
    hparams, whole = uninterrupted
    folder = shutil.copytree(whole, tmp_path / "run")
    os.remove(folder / "summary.json")
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:-1]) + lines[-1][:20])
    with pytest.raises(ConfigError, match=r"metrics.jsonl: holds 7 whole lines, 8 when"):
        run(hparams, folder)


def test_the_best_of_the_rounds_can_be_read(uninterrupted):
    _, folder = uninterrupted
    rounds = [line for line in metric_lines(folder) if line["phase"] == "adversarial"]
    lowest = min(line["nll_oracle"] for line in rounds if "nll_oracle" in line)
    best = trained.read(str(folder), best=True)
    content = json.loads(
        (folder / "checkpoints" / str(best.progress.calls) / "manifest.json").read_text()
    )
    assert content["score"] == lowest
    assert best.progress.calls > 5  # maximum likelihood and d-steps are not judged


def test_a_damaged_checkpoint_is_told_of_where_it_is_drawn_from(uninterrupted, tmp_path, capsys):
    _, whole = uninterrupted
    folder = shutil.copytree(whole, tmp_path / "run")
    os.remove(folder / "checkpoints" / str(NUM_CALLS) / "_CHECKPOINT_METADATA")
    assert trained.read(str(folder)).progress.calls == NUM_CALLS - 1
    assert f"checkpoints/{NUM_CALLS}: _CHECKPOINT_METADATA" in capsys.readouterr().err
    assert (folder / "checkpoints" / str(NUM_CALLS)).is_dir()  # nothing is changed
