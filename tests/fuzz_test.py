"""The harness that hostile inputs run in, and a short form of the fuzz, see fuzz_loaders.py."""

import os

import fuzz_loaders
import hostile
import numpy as np
import pytest

from seqgan_jax.checked import DataError

pytestmark = pytest.mark.usefixtures("hostile_limits")


# What the harness lets through is no proof.


def _writes(folder, name):
    with open(os.path.join(os.path.dirname(folder), "elsewhere"), "w") as file:
        file.write(name)


def _runs(folder, name):
    del folder
    os.system(f"true {name}")


def _waits(folder, name):
    del folder, name
    while True:
        pass


def _takes_memory(folder, name):
    del folder
    assert np.ones(20_000_000).sum(), name


def _fails(folder, name):
    del folder
    raise KeyError(name)


def _says_much(folder, name):
    del folder, name
    raise DataError("x" * 3_000)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (_writes, "elsewhere"),
        (_runs, "did ['os.system']"),
        (_waits, "TooLongError: over 1 s"),
        (_takes_memory, "took 1"),
        (_fails, "KeyError: 'name' (fuzz_test.py:"),
        (_says_much, "says 3,000 characters"),
        (lambda folder, name: None, "loaded"),
    ],
)
def test_the_harness_sees_what_an_input_must_not_do(tmp_path, monkeypatch, load, words):
    monkeypatch.setattr(hostile, "SECONDS", 1)
    monkeypatch.setattr(hostile, "BYTES", 100_000_000)
    (tmp_path / "in").mkdir()
    outcome = hostile.attempt(load, str(tmp_path / "in"), "name")
    assert words in outcome.words


# The short form of the fuzz.


def test_a_few_hundred_damaged_files(tmp_path):
    loaders = hostile.loaders()
    counts = {}
    for task in fuzz_loaders.tasks(loaders, 400):
        if task.loader == "report":  # of pictures: seconds each
            continue
        loader = loaders[task.loader]
        file, data = fuzz_loaders.mutant(loader, task.number, 1, task.loader)
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        fuzz_loaders.write(str(folder), loader, file, data)
        outcome = hostile.attempt(loader.load, str(folder), file)
        assert outcome.words in ("loaded", "refused"), (task, outcome)
        counts[outcome.words] = counts.get(outcome.words, 0) + 1
    assert min(counts.values()) > 20
