"""A run that takes another's pre-training over is the run that it would have been alone."""

import dataclasses
import io

import jax
import numpy as np
import pytest
import rich.console
from tiny_run import TINY, metric_lines, run

from seqgan_jax.training import trained
from seqgan_jax.training.loop import Trainer

pytestmark = pytest.mark.usefixtures("compilation_cache")

SCHEDULE = dataclasses.replace(TINY.schedule, g_patience=3)
SEQGAN = dataclasses.replace(TINY, schedule=SCHEDULE)
MLE = dataclasses.replace(SEQGAN, method="mle")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A finished run of maximum likelihood, which pre-trains as SeqGAN does."""
    folder = tmp_path_factory.mktemp("start") / "mle"
    run(MLE, folder)
    return folder


def begun_at(folder, start):
    output = io.StringIO()
    Trainer(SEQGAN, str(folder), rich.console.Console(file=output, width=400), [str(start)]).run()
    return output.getvalue()


def assert_equal_states(one, other, pretrained=False):
    states = [trained.read(str(folder), pretrained).state for folder in (one, other)]
    leaves = [
        jax.tree.leaves(dataclasses.replace(state, key=jax.random.key_data(state.key)))
        for state in states
    ]
    assert len(leaves[0]) == len(leaves[1])
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_is_the_run_that_pretrains_itself_to_the_bit(start, tmp_path):
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    run(SEQGAN, alone)
    said = begun_at(beside, start)
    assert f"begins with the pre-training of {start}" in said
    assert "g_pretrain" not in said.split("adversarial")[0].replace("pre-training", "")
    assert metric_lines(beside) == metric_lines(alone)
    assert_equal_states(alone, beside)
    assert_equal_states(alone, beside, pretrained=True)
    assert (beside / "samples.txt").read_text() == (alone / "samples.txt").read_text()


def test_the_start_is_counted_in_budget_and_seconds(start, tmp_path):
    begun_at(tmp_path / "run", start)
    theirs, mine = (trained.read(str(f), pretrained=True) for f in (start, tmp_path / "run"))
    assert mine.progress.work == theirs.progress.work == [15, 0, 0, 0]
    assert mine.progress.seconds == theirs.progress.seconds > 0.0
    assert trained.read(str(tmp_path / "run")).progress.seconds > theirs.progress.seconds


def test_a_run_that_has_begun_goes_on_from_where_it_is(start, tmp_path):
    run(SEQGAN, tmp_path / "run")
    assert "begins with" not in begun_at(tmp_path / "run", start)
