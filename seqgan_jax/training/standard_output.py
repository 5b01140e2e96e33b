"""Standard output and standard error, whose readers may be gone.

Ctrl-C on `bin/train.py | tee log` ends tee too: what is said then must not end the run otherwise
than the signal does. Nor need a run of hours end because nobody reads what it tells.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO


def say(words: str) -> None:
    """Writes a line to standard error, if somebody reads it."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()


class Patient(io.TextIOBase):
    """A stream to which all is written until its reader is gone, and nothing from then on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text, if somebody reads it."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Brings what was written to the reader, if there is one."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._give_up()

    def _give_up(self) -> None:
        """What is still buffered would be written at the program's end, and fail again."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
