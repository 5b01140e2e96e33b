"""Runs on eight virtual devices are the run on one: the same tokens, losses and parameters."""

import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from tiny_run import metric_lines

from seqgan_jax.training import trained

TESTS = pathlib.Path(__file__).parent
MESHES = ["8x1", "4x2", "1x8"]
RESUMED = ["8x1-2x2", "8x1-1x1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meshes")
    command = [sys.executable, str(TESTS / "mesh_run.py"), str(folder), "1x1", *MESHES, *RESUMED]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def assert_same_run(one, other):
    """Within rounding: samples are equal, parameters within 1e-5, metrics within 1e-4."""
    assert (one / "samples.txt").read_text() == (other / "samples.txt").read_text()
    lines = metric_lines(one), metric_lines(other)
    for first, second in zip(*lines, strict=True):
        assert first.keys() == second.keys()
        for name, value in first.items():
            near = value if isinstance(value, str) else pytest.approx(value, rel=1e-4, abs=1e-4)
            assert second[name] == near, name
    states = [trained.read(str(each)).state for each in (one, other)]
    assert int(states[0].step) == int(states[1].step) > 0
    for name in ("generator", "rollout", "discriminator"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5),
            *(getattr(state, name) for state in states),
        )


@pytest.mark.parametrize("name", MESHES + RESUMED)
def test_a_run_on_many_devices_is_the_run_on_one(folder, name):
    assert_same_run(folder / "1x1", folder / name)
