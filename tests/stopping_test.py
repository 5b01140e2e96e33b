"""SIGTERM and SIGINT in processes: the step is finished first, or not waited for."""

import dataclasses
import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import rich.console
from tiny_run import TINY, metric_lines, run

from seqgan_jax.training import stopping, trained
from seqgan_jax.training.loop import Trainer

pytestmark = pytest.mark.usefixtures("shared_programs")
# No checkpoint is due before the end.
SELDOM = dataclasses.replace(
    TINY, evaluation=dataclasses.replace(TINY.evaluation, checkpoint_seconds=1e6, keep_best=0)
)

STEPS = """
import ctypes, sys
from seqgan_jax.training import stopping
stopping._GRACE_SECONDS = float(sys.argv[1])
with stopping.Stop() as stop:
    print("begun", flush=True)
    # As a compiled call: while it lasts, Python's own handlers do not run. A signal ends one sleep.
    library, left = ctypes.CDLL(None), int(sys.argv[2])
    while left:
        left = library.sleep(left)
    print("saved", stop.requested, flush=True)
"""


def start(grace, step):
    command = [sys.executable, "-c", STEPS, str(grace), str(step)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_step_is_finished(signum):
    process = start(20.0, 1)
    process.send_signal(signum)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, f"saved {int(signum)}\n")
    assert errors.startswith(f"{signum.name}: ends once this step is done and saved")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(signum):
    process = start(600.0, 600)
    begun = time.monotonic()
    process.send_signal(signum)
    assert "once more ends it at once" in process.stderr.readline()
    process.send_signal(signum)  # the same one, sent to the process's group too
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signum)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (128 + signum, "")
    assert "again; the same command resumes" in errors
    assert time.monotonic() - begun < 30.0


def test_a_long_step_is_not_waited_for():
    process = start(0.5, 600)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (143, "")
    assert "the step takes longer than" in errors


def test_handlers_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    threads = threading.active_count()
    with stopping.Stop() as stop:
        assert signal.getsignal(signal.SIGTERM) != before[1]
        assert stop.requested == 0
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == threads


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.Stop():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_changes_nothing():
    found = []

    def inside():
        with stopping.Stop() as stop:
            found.append((signal.getsignal(signal.SIGTERM), stop.requested))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [(signal.getsignal(signal.SIGTERM), 0)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(SELDOM, folder)
    return folder


@pytest.mark.parametrize(
    ("calls", "signum", "place"),
    [
        (2, signal.SIGTERM, "after g_pretrain epoch 2"),
        (9, signal.SIGINT, "within adversarial round 2"),
        (14, signal.SIGTERM, "after adversarial round 3"),  # the last
    ],
)
def test_a_run_is_saved_where_no_checkpoint_was_due(
    whole, tmp_path, monkeypatch, calls, signum, place
):
    trainer = Trainer(SELDOM, str(tmp_path), rich.console.Console(file=io.StringIO()))
    run_call, count = trainer._run_call, iter(range(1, 100))

    def signalled(call):
        if next(count) == calls:
            os.kill(os.getpid(), signum)
        return run_call(call)

    monkeypatch.setattr(trainer, "_run_call", signalled)
    with pytest.raises(stopping.Stopped, match=f"stopped {place}, and saved") as error:
        trainer.run()
    assert error.value.signum == signum
    assert trained.read(str(tmp_path)).progress.calls == calls
    assert not (tmp_path / "summary.json").exists()
    assert f"resuming after {calls} of 14 calls" in run(SELDOM, tmp_path)
    assert metric_lines(tmp_path) == metric_lines(whole)
    assert (tmp_path / "samples.txt").read_text() == (whole / "samples.txt").read_text()


def test_a_signal_while_a_run_ends_lets_it_end(tmp_path, monkeypatch):
    trainer = Trainer(SELDOM, str(tmp_path), rich.console.Console(file=io.StringIO()))
    finish = trainer._finish

    def signalled():
        os.kill(os.getpid(), signal.SIGTERM)
        finish()

    monkeypatch.setattr(trainer, "_finish", signalled)
    with pytest.raises(stopping.Stopped, match="is finished"):
        trainer.run()
    assert (tmp_path / "summary.json").exists()
