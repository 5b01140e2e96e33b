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
    saved = Checkpoints(str(folder), "a run", **keep)
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
    none = Checkpoints(str(tmp_path / "none"), "a run", keep_best=0)
    assert not none.is_among_best(0.0)
    assert Checkpoints(str(tmp_path / "none"), "a run", keep_best=1).is_among_best(9.0)


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
        if harm is not os.remove and os.path.getsize(tmp_path / "2" / name) == 0:
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
    assert f"{tmp_path / '2'}: _CHECKPOINT_METADATA is missing" in str(error.value)


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


def test_another_runs_checkpoint_is_refused(tmp_path, init_state):
    written(tmp_path, init_state, [None])
    with pytest.raises(ConfigError, match="1: is of another run, of another seed or config"):
        Checkpoints(str(tmp_path), "another").restore(init_state(jax.random.key(0)), 1)


def rewritten(path, change):
    """A manifest that somebody has made, with the right digest of its own."""
    content = json.loads(path.read_text())
    del content["sha256"]
    change(content)
    content["sha256"] = manifest._of_content(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("arrays"),
        lambda content: content.pop("files"),
        lambda content: content.pop("run"),
        lambda content: content.update(files=["a"]),
        lambda content: content.update(files={}),
        lambda content: content.update(files={"a": 1}),
        lambda content: content.update(files={"/etc/hostname": "0"}),
        lambda content: content.update(files={"../../a": "0"}),
        lambda content: content.update(files={"a\0b": "0"}),
        lambda content: content.update(files={".": "0"}),
        lambda content: content.update(score="x"),
        lambda content: content.update(score=10**400),
        lambda content: content.update(arrays={"a": {}}),
    ],
)
def test_a_manifest_of_anybodys_making_is_damage(tmp_path, init_state, change):
    saved = written(tmp_path, init_state, [1.0, 1.0], keep_last=2)
    rewritten(tmp_path / "2" / "manifest.json", change)
    told = []
    assert saved.newest(told.append) == 1
    assert len(told) == 1
    assert saved.best() in (1, 2)


@pytest.mark.parametrize("content", [b"", b"[]", b"1", b'{"a":' * 9999, b"\xff" * 99])
def test_rubbish_in_its_place_is_damage(tmp_path, init_state, content):
    saved = written(tmp_path, init_state, [None, None], keep_last=2)
    (tmp_path / "2" / "manifest.json").write_bytes(content)
    assert saved.newest(lambda words: None) == 1


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path, init_state):
    saved = written(tmp_path, init_state, [None, None], keep_last=2)
    os.remove(tmp_path / "2" / "manifest.json")
    os.mkfifo(tmp_path / "2" / "manifest.json")
    assert saved.newest(lambda words: None) == 1


def test_other_names_in_the_folder_are_no_checkpoints(tmp_path, init_state):
    saved = written(tmp_path, init_state, [None])
    for name in ("0099", "0", "-1", "\N{ARABIC-INDIC DIGIT THREE}", "x1", "9" * 200):
        (tmp_path / name).mkdir()
    assert saved.steps() == [1]
    assert saved.newest(pytest.fail) == 1


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
    with pytest.raises(ConfigError, match="its checkpoints are gone"):
        run(hparams, folder)
    os.remove(folder / "summary.json")  # nor one that is not finished
    with pytest.raises(ConfigError, match="its checkpoints are gone"):
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


def test_metrics_that_have_changed_are_not_gone_on_with(uninterrupted, tmp_path):
    hparams, whole = uninterrupted
    folder = shutil.copytree(whole, tmp_path / "run")
    os.remove(folder / "summary.json")
    flip(folder / "metrics.jsonl")
    changed = (folder / "metrics.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=r"metrics.jsonl: its first 8 lines are not as they"):
        run(hparams, folder)
    shutil.copy(whole / "summary.json", folder)  # nor is it said to be finished
    with pytest.raises(ConfigError, match=r"metrics.jsonl: its first 8 lines are not as they"):
        run(hparams, folder)
    assert (folder / "metrics.jsonl").read_bytes() == changed


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-seeds")
    hparams = dataclasses.replace(TINY, num_seeds=2)
    run(hparams, folder)
    return hparams, folder


def copied(two_seeds, tmp_path):
    folder = shutil.copytree(two_seeds[1], tmp_path / "two")
    for seed in ("seed-0", "seed-1"):
        os.remove(folder / seed / "summary.json")
    return folder


def test_of_seeds_trained_together_both_go_back_where_one_is_damaged(two_seeds, tmp_path):
    folder = copied(two_seeds, tmp_path)
    for calls in (NUM_CALLS, NUM_CALLS - 1):  # keep_last is 2: of several one more is kept
        flip(files_below(folder / "seed-1" / "checkpoints" / str(calls))[-1])
    output = run(two_seeds[0], folder)
    assert f"resuming after {NUM_CALLS - 2} of {NUM_CALLS} calls" in output
    for seed in ("seed-0", "seed-1"):
        one, other = folder / seed, two_seeds[1] / seed
        assert metric_lines(one) == metric_lines(other)
        assert_is(trained.read(str(one)).state, trained.read(str(other)).state)
    assert (folder / "seed-1" / "checkpoints" / f"{NUM_CALLS}.damaged").is_dir()
    assert not (folder / "seed-0" / "checkpoints" / f"{NUM_CALLS}.damaged").exists()


def test_of_seeds_trained_together_none_begins_anew_for_what_another_lacks(two_seeds, tmp_path):
    folder = copied(two_seeds, tmp_path)
    before = files_below(folder / "seed-0")
    shutil.rmtree(folder / "seed-1" / "checkpoints")
    with pytest.raises(ConfigError, match="seed-1: its checkpoints are gone"):
        run(two_seeds[0], folder)
    os.remove(folder / "seed-1" / ".saved")  # a run that never was saved, beside one that often was
    with pytest.raises(ConfigError, match=r"seed-0: has been trained further than .*seed-1"):
        run(two_seeds[0], folder)
    assert files_below(folder / "seed-0") == before


def test_of_seeds_trained_together_checkpoints_must_be_common(two_seeds, tmp_path):
    folder = copied(two_seeds, tmp_path)
    steps = sorted((folder / "seed-0" / "checkpoints").iterdir())
    for path in steps[:-1]:
        shutil.rmtree(path)
    shutil.rmtree(folder / "seed-1" / "checkpoints" / steps[-1].name)
    with pytest.raises(ConfigError, match="have no checkpoint in common"):
        run(two_seeds[0], folder)


def test_seeds_killed_between_their_first_checkpoints_begin_anew(two_seeds, tmp_path):
    folder = copied(two_seeds, tmp_path)
    for path in (folder / "seed-0" / "checkpoints").iterdir():
        if path.name != str(NUM_CALLS):
            shutil.rmtree(path)
    (folder / "seed-0" / "checkpoints" / str(NUM_CALLS)).rename(
        folder / "seed-0" / "checkpoints" / "1"
    )
    shutil.rmtree(folder / "seed-1" / "checkpoints")
    os.remove(folder / "seed-1" / ".saved")
    assert "stopped before its first checkpoint; begins anew" in run(two_seeds[0], folder)
    assert metric_lines(folder / "seed-1") == metric_lines(two_seeds[1] / "seed-1")


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
    with pytest.raises(ConfigError, match="--best, --pretrained: two checkpoints"):
        trained.read(str(folder), pretrained=True, best=True)


def test_none_is_the_best_where_none_is_kept(uninterrupted, tmp_path):
    folder = shutil.copytree(uninterrupted[1], tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    config["evaluation"]["keep_best"] = 0
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="no best checkpoint is kept"):
        trained.read(str(folder), best=True)


def test_what_is_kept_and_when_may_be_changed(uninterrupted, tmp_path):
    hparams, whole = uninterrupted
    folder = shutil.copytree(whole, tmp_path / "run")
    other = dataclasses.replace(
        hparams.evaluation, keep_last=1, keep_best=0, checkpoint_seconds=9.0
    )
    assert "finished" in run(dataclasses.replace(hparams, evaluation=other), folder)


def test_a_damaged_checkpoint_is_told_of_where_it_is_drawn_from(uninterrupted, tmp_path, capsys):
    _, whole = uninterrupted
    folder = shutil.copytree(whole, tmp_path / "run")
    os.remove(folder / "checkpoints" / str(NUM_CALLS) / "_CHECKPOINT_METADATA")
    assert trained.read(str(folder)).progress.calls == NUM_CALLS - 1
    assert f"checkpoints/{NUM_CALLS}: _CHECKPOINT_METADATA" in capsys.readouterr().err
    assert (folder / "checkpoints" / str(NUM_CALLS)).is_dir()  # nothing is changed
