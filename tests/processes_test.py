"""Jobs of several processes are the run of one; one killed ends the job, which then goes on."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from mesh_run import WIDE, same_run
from tiny_run import metric_lines, run

from seqgan_jax.training import trained, writers

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEVICES = 8  # of a job, shared by its processes
SEEDS = "--config.num_seeds=2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def start(folder):
    """Starts a job; its processes are killed if the test ends before them."""
    started = []

    def start_job(workdirs, mesh, *more):
        number = len(workdirs)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data, model = mesh
        environment = os.environ | {
            # Compiled as a user's: what runs beside what depends on it.
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES // number}",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        }
        job = [
            subprocess.Popen(
                [sys.executable, str(ROOT / "bin" / "train.py"),
                 f"--config={ROOT / 'tests' / 'wide_config.py'}", f"--config.mesh.data={data}",
                 f"--config.mesh.model={model}", f"--workdir={workdir}", *more,
                 f"--coordinator_address=127.0.0.1:{port}", f"--num_processes={number}",
                 f"--process_id={index}"],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for index, workdir in enumerate(workdirs)
        ]  # fmt: skip
        started.extend(job)
        return job

    yield start_job
    for process in started:
        process.kill()
        process.communicate()


def finished(job):
    """Waits for a job; none of its processes may fail. What each has said."""
    said = [process.communicate(timeout=600) for process in job]
    for process, (_, errors) in zip(job, said, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in said]


def signalled(job, index, workdir, lines, signum=signal.SIGKILL):
    """Signals one process once so many lines of metrics are there; all processes' errors."""
    path = workdir / writers.FILE_NAME
    deadline = time.monotonic() + 300
    while not path.exists() or len(path.read_text().splitlines()) < lines:
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in job)
        time.sleep(0.1)
    job[index].send_signal(signum)
    errors = [process.communicate(timeout=60)[1] for process in job]
    assert all(process.returncode not in (0, None) for process in job)
    return errors


@pytest.fixture(scope="module")
def alone(folder):
    """The run on one device, in this process."""
    run(WIDE, folder / "alone")
    return folder / "alone"


@pytest.fixture(scope="module")
def two(folder, start):
    """Runs of two seeds by two processes, and what they have said."""
    job = start([folder / "two"] * 2, (4, 2), SEEDS)
    return folder / "two", finished(job)


def test_two_processes_make_the_run_of_one_device(alone, two):
    same_run(alone, two[0] / "seed-0")


def test_one_process_of_them_speaks(two):
    said = ["\n".join(line for line in each.splitlines() if "Gloo" not in line) for each in two[1]]
    assert "10/10" in said[0]
    assert not said[1]


def test_four_processes_make_the_run_of_one_device(alone, folder, start):
    finished(start([folder / "four"] * 4, (8, 1)))
    same_run(alone, folder / "four")


def test_a_killed_process_ends_the_job_and_it_resumes_to_the_bit(two, folder, start):
    """The second, then the first, which the others go by; on other devices, within rounding."""
    workdir = folder / "killed"
    for index, lines in ((1, 5), (0, 8)):
        job = start([workdir] * 2, (4, 2), SEEDS)
        error = signalled(job, index, workdir / "seed-1", lines)[1 - index]
        # Its own sentence, or, where JAX is first to notice, JAX's.
        assert "another process of this job has ended" in error or "another task died" in error
        assert not (workdir / "seed-1" / "summary.json").exists()
    # Asked to end, one of them, as a host that is to be taken away: both do, together.
    begun = len((workdir / "seed-1" / writers.FILE_NAME).read_text().splitlines())
    job = start([workdir] * 2, (4, 2), SEEDS)
    errors = signalled(job, 1, workdir / "seed-1", begun + 1, signal.SIGTERM)
    assert [process.returncode for process in job] == [143, 143], errors
    assert all("stopped after" in each or "stopped within" in each for each in errors)
    fewer = folder / "fewer"
    shutil.copytree(workdir, fewer)
    (said, _) = finished(start([workdir] * 2, (4, 2), SEEDS))
    assert "resuming after" in said
    # One process has their devices, and reads what two have written.
    (said,) = finished(start([fewer], (4, 2), SEEDS))
    assert "resuming after" in said
    same_run(two[0] / "seed-1", fewer / "seed-1")
    for seed in ("seed-0", "seed-1"):
        mine, whole = workdir / seed, two[0] / seed
        assert metric_lines(mine) == metric_lines(whole)
        assert (mine / "samples.txt").read_bytes() == (whole / "samples.txt").read_bytes()
        states = [trained.read(str(each)).state for each in (mine, whole)]
        for name in ("generator", "discriminator"):
            pair = (getattr(state, name) for state in states)
            jax.tree.map(np.testing.assert_array_equal, *pair)


def test_a_folder_that_is_not_shared_is_refused_by_all(folder, start):
    job = start([folder / "mine", folder / "other"], (8, 1))
    for process in job:
        assert "is not the same folder in every process" in process.communicate(timeout=300)[1]
        assert process.returncode == 2
