"""One process a folder: refused, released on death, nothing left of what was refused."""

import os
import signal
import subprocess
import sys

import pytest
from tiny_run import TINY, run

from seqgan_jax.checked import ConfigError
from seqgan_jax.training.lock import Lock

HOLD = """
import sys, time
from seqgan_jax.training.lock import Lock
lock = Lock(sys.argv[1])
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds a folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_has_died(holder, tmp_path):
    with pytest.raises(ConfigError, match=r"another process trains there \(process (\d+) on") as e:
        run(TINY, tmp_path / "run")
    assert f"process {holder.pid} on" in str(e.value)
    assert f"--workdir={tmp_path / 'run'}" in str(e.value)
    assert os.listdir(tmp_path / "run") == [".lock"]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    Lock(str(tmp_path / "run")).release()


def test_so_is_a_second_one_of_the_same_process(tmp_path):
    first = Lock(str(tmp_path))
    with pytest.raises(ConfigError, match=f"process {os.getpid()} on"):
        Lock(str(tmp_path))
    first.release()
    first.release()
    Lock(str(tmp_path)).release()


def test_what_is_undone_leaves_nothing(tmp_path):
    lock = Lock(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b" / ".lock").exists()
    lock.undo()
    assert list(tmp_path.iterdir()) == []


def test_but_what_was_there_or_has_come_stays(tmp_path):
    (tmp_path / "a").mkdir()
    Lock(str(tmp_path / "a")).undo()
    assert (tmp_path / "a").is_dir()
    lock = Lock(str(tmp_path / "b"))
    (tmp_path / "b" / "file").touch()
    lock.undo()
    assert sorted(os.listdir(tmp_path / "b")) == [".lock", "file"]


def test_a_lock_that_was_undone_meanwhile_is_not_taken_for_one(tmp_path, monkeypatch):
    """Its file is opened, then deleted by its holder: another process would make a new one."""
    stat, path = os.stat, str(tmp_path / ".lock")
    deleted = []

    def deleted_just_now(name, *args, **kwargs):
        if name == path and not deleted:
            deleted.append(name)
            os.remove(path)
        return stat(name, *args, **kwargs)

    monkeypatch.setattr(os, "stat", deleted_just_now)
    lock = Lock(str(tmp_path))
    assert deleted == [path]
    with pytest.raises(ConfigError, match="another process trains there"):
        Lock(str(tmp_path))
    lock.release()


def test_a_file_in_the_folders_place_is_named(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError, match=f"--workdir={folder}: cannot be made or written"):
            Lock(str(folder))
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_in_the_locks_place_is_not_followed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be made or written"):
        Lock(str(tmp_path / "run"))
    assert not (tmp_path / "elsewhere").exists()
