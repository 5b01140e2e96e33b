"""A disk that is full or read-only: an error that names the file, the last checkpoint as it was.

A limit on the size of files stands for the full disk, since it can be had without being root: the
system refuses to write the rest in the same way.
"""

import contextlib
import dataclasses
import errno
import gc
import logging
import os
import resource
import subprocess
import sys
import warnings

import pytest
from tiny_run import TINY, metric_lines, run

from seqgan_jax.checked import ConfigError
from seqgan_jax.training import trained
from seqgan_jax.training.checkpoint import Checkpoints
from seqgan_jax.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("shared_programs")


@pytest.fixture(autouse=True)
def unlogged():
    """Orbax logs each write that failed, and pytest's log would keep what belongs to it."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@contextlib.contextmanager
def files_of_at_most(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(TINY, folder)
    return folder


def files_of(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class FullDisk:
    """The disk is full from a call of a function on, for as long as that call lasts."""

    def __init__(self, monkeypatch, owner, name, size, after=0):
        function, count = getattr(owner, name), iter(range(1_000))

        def on_full_disk(*args, **kwargs):
            if next(count) < after:
                return function(*args, **kwargs)
            with files_of_at_most(size):
                return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, on_full_disk)


# What is being written, by which call, how many of them are well, and how large a file may be then.
@pytest.mark.parametrize(
    ("owner", "name", "after", "size", "words"),
    [
        (Checkpoints, "save", 4, 1000, "checkpoints/4"),  # its arrays
        (RunFolder, "write", 3, 700, "metrics.jsonl"),
        (RunFolder, "draw_curve", 0, 5000, "learning_curve.png"),
        (RunFolder, "finish", 0, 20, "samples.txt"),
    ],
)
def test_a_full_disk_ends_the_run_and_harms_nothing(
    whole, tmp_path, monkeypatch, owner, name, after, size, words
):
    with monkeypatch.context() as patch:
        if name == "finish":  # of its three files, that one
            patch.setattr(RunFolder, "draw_curve", lambda self: None)
        FullDisk(patch, owner, name, size, after)
        with pytest.raises(OSError, match="File too large") as error:
            run(TINY, tmp_path)
    assert error.value.errno == errno.EFBIG
    assert str(error.value.filename).startswith(str(tmp_path))
    assert words in error.value.filename
    # There is room again.
    run(TINY, tmp_path)
    left = [path for path in tmp_path.rglob("*") if "partial" in path.name or "tmp" in path.name]
    assert left == []
    assert metric_lines(tmp_path) == metric_lines(whole)
    assert (tmp_path / "samples.txt").read_text() == (whole / "samples.txt").read_text()


def test_a_checkpoint_that_does_not_fit_leaves_the_others_as_they_were(whole, monkeypatch):
    before = files_of(whole / "checkpoints")
    saved = Checkpoints(str(whole / "checkpoints"), "", keep_last=1)
    state, progress = trained.read(str(whole))[1:]
    progress = dataclasses.replace(progress, calls=99)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(3):
            with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
                saved.save(state, progress)
            gc.collect()  # what is left of that save is not heard of later
    assert [str(one.message) for one in told] == []
    assert files_of(whole / "checkpoints") == before
    with monkeypatch.context() as patch:

        def read_only(*args, **kwargs):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), args[0])

        patch.setattr(os, "rename", read_only)
        with pytest.raises(OSError, match="Read-only"):
            saved.save(state, progress)
    assert files_of(whole / "checkpoints") == before


def test_a_full_disk_is_told_in_one_sentence(tmp_path):
    """As a user sees it, on a file system of two megabytes, where this process may have one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip("only root may mount a file system")
    try:
        (tmp_path / "filler").write_bytes(bytes(1_500_000))
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        command = [
            sys.executable, os.path.join(root, "bin", "train.py"),
            "--config=configs/oracle.py:smoke", f"--workdir={tmp_path}/run",
            "--config.evaluation.checkpoint_seconds=0.0", "--config.evaluation.keep_last=9",
        ]  # fmt: skip
        ended = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=300, check=False
        )
        assert ended.returncode == 1, ended.stderr
        assert ended.stderr.startswith(f"error: {tmp_path}/run/")
        assert "No space left on device; what was saved before is whole" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        os.remove(tmp_path / "filler")
        assert Checkpoints(f"{tmp_path}/run/checkpoints", "").newest(pytest.fail) is not None
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path)], check=True)
        with pytest.raises(ConfigError, match=r"cannot be made or written \(Read-only"):
            run(TINY, tmp_path / "other")
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
