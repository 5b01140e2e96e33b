"""A run that takes another's pre-training over is the run that it would have been alone."""

import dataclasses
import io
import json

import jax
import numpy as np
import pytest
import rich.console
from tiny_run import CLOCKS, TINY, StoppedError

from seqgan_jax.training import trained, writers
from seqgan_jax.training.loop import Trainer

pytestmark = pytest.mark.usefixtures("shared_programs")

# 40 sequences are soon known by heart: the epochs end early, at the best of each seed.
SEQGAN = dataclasses.replace(
    TINY,
    training=dataclasses.replace(TINY.training, mle_learning_rate=0.03),
    schedule=dataclasses.replace(
        TINY.schedule, g_pretrain_epochs=60, g_patience=2, d_pretrain_steps=1, rounds=1, d_steps=1
    ),
    evaluation=dataclasses.replace(TINY.evaluation, checkpoint_seconds=1e9, eval_every=50),
)
MLE = dataclasses.replace(SEQGAN, method="mle")
SEEDS = range(2)


def trainer(hparams, folder, starts=()):
    output = io.StringIO()
    folders = [str(folder / str(seed)) for seed in SEEDS]
    console = rich.console.Console(file=output, width=1000)
    return Trainer(hparams, folders, console, [str(each) for each in starts]), output


def trained_in(hparams, folder, starts=()):
    made, output = trainer(hparams, folder, starts)
    made.run()
    return output.getvalue()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Finished runs of maximum likelihood, which pre-trains as SeqGAN does."""
    folder = tmp_path_factory.mktemp("start")
    trained_in(MLE, folder)
    return [folder / str(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    trained_in(SEQGAN, folder)
    return folder


def lines_of(folder):
    return [
        {k: v for k, v in line.items() if k not in CLOCKS}
        for line in writers.read_metrics(str(folder))
    ]


def assert_same_runs(one, other):
    for seed in map(str, SEEDS):
        assert lines_of(one / seed) == lines_of(other / seed)
        for pretrained in (True, False):
            states = [trained.read(str(each / seed), pretrained).state for each in (one, other)]
            bits = [dataclasses.replace(s, key=jax.random.key_data(s.key)) for s in states]
            jax.tree.map(np.testing.assert_array_equal, *bits)
        texts = [(each / seed / "samples.txt").read_text() for each in (one, other)]
        assert texts[0] == texts[1]


def test_it_is_the_run_that_pretrains_itself(start, alone, tmp_path):
    said = trained_in(SEQGAN, tmp_path, start)
    assert f"begins with the pre-training of {start[0]}, {start[1]}, as its own" in said
    assert "g_pretrain" not in said
    assert "resuming" not in said
    epochs = [line["best_epoch"] for line in map(last_epoch, start)]
    assert epochs[0] != epochs[1]
    assert all(last_epoch(folder)["epoch"] < 60 for folder in start)
    assert_same_runs(alone, tmp_path)
    # The start is counted in budget and seconds.
    mine, theirs = (writers.read_metrics(str(each)) for each in (tmp_path / "0", start[0]))
    number = sum(line["phase"] == "g_pretrain" for line in mine)
    assert mine[:number] == theirs[:number]
    assert mine[number - 1]["generator_updates"] == 5 * number
    seconds = [line["seconds"] for line in mine]
    assert seconds == sorted(seconds)
    assert seconds[number - 1] > 0.0


def last_epoch(folder):
    return [line for line in lines_of(folder) if line["phase"] == "g_pretrain"][-1]


def test_a_kill_before_its_first_checkpoint_changes_nothing(start, alone, tmp_path, monkeypatch):
    made, _ = trainer(SEQGAN, tmp_path, start)

    def dies(_):
        raise StoppedError

    monkeypatch.setattr(made, "_run_call", dies)
    with pytest.raises(StoppedError):
        made.run()
    assert "begins with" in trained_in(SEQGAN, tmp_path, start)
    assert_same_runs(alone, tmp_path)
    assert "begins with" not in trained_in(SEQGAN, tmp_path, start)  # it is finished


@pytest.mark.parametrize("field", ["seeds", "data", "jax", "device", "mesh"])
def test_a_start_of_another_origin_is_not_taken(start, alone, tmp_path, monkeypatch, field):
    """Other seeds beside it, other data in a file of the same name, another machine."""
    made, output = trainer(SEQGAN, tmp_path, start)
    monkeypatch.setattr(made, "_run_phases", lambda: (_ for _ in ()).throw(StoppedError))
    read = trained.read

    def of_another(folder, pretrained=False):
        found = read(folder, pretrained)
        assert set(found.progress.origin) == {"seeds", "data", "jax", "device", "mesh"}
        assert found.progress.origin["seeds"] == [*SEEDS]
        changed = json.loads(json.dumps(found.progress.origin)) | {field: "another"}
        return found._replace(progress=dataclasses.replace(found.progress, origin=changed))

    monkeypatch.setattr(trained, "read", of_another)
    with pytest.raises(StoppedError):
        made.run()
    assert "begins with" not in output.getvalue()
    assert lines_of(tmp_path / "0") == []
