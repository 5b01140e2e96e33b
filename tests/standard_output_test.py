"""Output whose reader has gone, and signals that come then."""

import contextlib
import os
import signal
import subprocess
import sys
import time

STEPS = """
import ctypes, os, sys
from seqgan_jax.training import command_line, stopping
stopping._GRACE_SECONDS = 600.0

def main():
    console = command_line.console()
    with stopping.Stop() as stop:
        library, left = ctypes.CDLL(None), 600
        os.write(int(sys.argv[1]), b"begun")
        while left and not stop.requested:
            console.print("working")
            library.sleep(1)
            left -= 1
        console.print("one line more")
        console.print("saved")
        os.write(int(sys.argv[1]), b"saved")
        raise stopping.Stopped(stop.requested, "stopped")



command_line.run(lambda words: main(), positional=True)
"""


@contextlib.contextmanager
def unread(words):
    """A program whose output nobody reads any more; the program, and what it tells of itself."""
    told, tells = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", words, str(tells)], pass_fds=[tells],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert os.read(told, 5) == b"begun"
        process.stdout.close()
        yield process, told
    finally:
        process.kill()
        process.wait()
        os.close(told)
        os.close(tells)


def test_a_signal_is_heeded_where_nobody_reads_any_more():
    """As Ctrl-C on `bin/train.py 2>&1 | tee log`, which ends tee too."""
    with unread(STEPS) as (process, told):
        time.sleep(1.5)  # it speaks to nobody meanwhile
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert os.read(told, 5) == b"saved"


def test_a_second_signal_ends_it_at_once_where_nobody_reads_any_more():
    with unread(STEPS.replace("not stop.requested", "True")) as (process, _):
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(1.5)
        assert process.wait(timeout=60) == 143
