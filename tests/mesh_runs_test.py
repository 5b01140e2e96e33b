"""Runs on eight virtual devices are the run on one: the same tokens, losses and parameters."""

import pathlib
import subprocess
import sys

import pytest
from mesh_run import same_run

TESTS = pathlib.Path(__file__).parent
MESHES = ["8x1", "4x2", "1x8"]
SEEDS = "8x1s8"
RESUMED = ["8x1-2x2", "8x1-1x1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meshes")
    command = [
        sys.executable,
        str(TESTS / "mesh_run.py"),
        str(folder),
        "1x1",
        *MESHES,
        *RESUMED,
        SEEDS,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TESTS, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", MESHES + RESUMED)
def test_a_run_on_many_devices_is_the_run_on_one(folder, name):
    same_run(folder / "1x1", folder / name)


def test_seeds_that_devices_share_are_each_the_run_alone(folder):
    same_run(folder / "1x1", folder / SEEDS / "seed-0")
    samples = {(folder / SEEDS / f"seed-{seed}" / "samples.txt").read_text() for seed in range(8)}
    assert len(samples) == 8
