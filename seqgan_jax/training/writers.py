"""Metrics to files: metrics.jsonl and TensorBoard events."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import time
from collections.abc import Mapping
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2, summary_pb2

from seqgan_jax.atomic import naming, write_atomically
from seqgan_jax.checked import ConfigError, DataError
from seqgan_jax.files import is_finite, open_file, parse_json, read_lines

FILE_NAME = "metrics.jsonl"
_GIVE_BACK = "give it back as it was, or begin anew in another --workdir"
_MAX_LINE_BYTES, _MAX_NAMES = 100_000, 10_000  # of a line, and different ones in all
# Values of all lines, of which 450,000 of a long run have so many: a line itself takes as much
# memory as a few values, each some 60 bytes.
_MAX_VALUES, _VALUES_A_LINE = 14_000_000, 5


class MetricsWriter:
    """Appends a line at a time; on resuming, lines of undone work are dropped first.

    Args of the constructor:
      workdir: the run's folder.
      lines_kept: lines that belong to what is done.
      digest: their SHA-256.
      step: of the state that is gone on from.

    Raises:
      ConfigError: by the constructor, where these lines are no longer as they were.
      OSError: a file cannot be written; names it.
    """

    def __init__(self, workdir: str, lines_kept: int, digest: str, step: int) -> None:
        self._path = os.path.join(workdir, FILE_NAME)
        self.lines = lines_kept
        kept = _first_lines(self._path, lines_kept)
        self._digest = hashlib.sha256(kept)
        if lines_kept and self.digest != digest:
            raise ConfigError(
                f"{self._path}: its first {lines_kept} lines are not as they were when the "
                f"checkpoint was written; {_GIVE_BACK}"
            )
        write_atomically(self._path, kept)
        self._file = open(self._path, "ab")  # noqa: SIM115  # closed by close()
        # TensorBoard drops events from this step on; the line at `step` itself is kept.
        self._events = _Events(os.path.join(workdir, "tensorboard"), step + 1 if lines_kept else 0)

    @property
    def digest(self) -> str:
        """SHA-256 of the lines so far."""
        return self._digest.hexdigest()

    def write(self, line: Mapping[str, Any]) -> None:
        """Writes one object to metrics.jsonl and its numbers to TensorBoard."""
        # JSON has no NaN: a metric without a value is left out.
        values = {k: v for k, v in line.items() if not isinstance(v, float) or math.isfinite(v)}
        content = (json.dumps(values) + "\n").encode()
        with naming(self._path):
            self._file.write(content)
            self._file.flush()
        self._digest.update(content)
        self.lines += 1
        numbers = {
            f"{line['phase']}/{name}": value
            for name, value in values.items()
            if isinstance(value, float)
        }
        self._events.write(numbers, line["step"])

    def sync(self) -> None:
        """Brings everything written so far to the disk, before a checkpoint counts on it."""
        with naming(self._path):
            os.fsync(self._file.fileno())
        self._events.sync()

    def close(self) -> None:
        """Closes the files."""
        with naming(self._path):
            self._file.close()
        self._events.close()


def _first_lines(path: str, number: int) -> bytes:
    """The first whole lines of a file that may be missing."""
    kept: list[bytes] = []
    if number:
        with open_file(path) as file:
            lines = itertools.islice(file, number)
            kept = [line for line in lines if line.endswith(b"\n")]
    if len(kept) < number:
        raise ConfigError(
            f"{path}: holds {len(kept)} whole lines, {number} when the checkpoint was written; "
            f"{_GIVE_BACK}"
        )
    return b"".join(kept)


class _Events:
    """TensorBoard's events, written where they arise.

    SummaryWriter has a process-wide queue and a thread for it: what waits there is lost when the
    process is killed though a checkpoint counts on it, and a full disk ends the thread and then
    blocks whoever writes on.
    """

    def __init__(self, folder: str, purge_step: int) -> None:
        self._folder = folder
        with naming(folder):
            os.makedirs(folder, exist_ok=True)
            # Two sittings may begin within a second, which is all that the name tells by itself.
            self._writer = EventsWriter(os.path.join(folder, "events"), f".{os.getpid()}")
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._writer.write_event(event_pb2.Event(step=purge_step, session_log=start))

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        values = [
            summary_pb2.Summary.Value(tag=tag, simple_value=number)
            for tag, number in numbers.items()
        ]
        event = event_pb2.Event(
            wall_time=time.time(), step=step, summary=summary_pb2.Summary(value=values)
        )
        with naming(self._folder):
            self._writer.write_event(event)

    def sync(self) -> None:
        with naming(self._folder):
            self._writer.flush()

    def close(self) -> None:
        with naming(self._folder):
            self._writer.close()


class NoWriter:
    """Stands for a writer in the processes that do not write; counts the lines as it does."""

    digest = ""  # which the first process notes

    def __init__(self, workdir: str, lines_kept: int, digest: str, step: int) -> None:
        del workdir, digest, step
        self.lines = lines_kept

    def write(self, line: Mapping[str, Any]) -> None:
        """Counts a line."""
        del line
        self.lines += 1

    def sync(self) -> None:
        """Nothing has been written."""

    def close(self) -> None:
        """Nothing is open."""


def read_metrics(workdir: str) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl, of which the last may be being written.

    Returns:
      Name -> finite number, or `phase` -> its name, a line; without a last line that has no end.

    Raises:
      DataError: there is no such file, it is too large, or a whole line is damaged; names the line.
    """
    path = os.path.join(workdir, FILE_NAME)
    lines: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # each is held once, not once a line
    left = _MAX_VALUES
    for number, raw in read_lines(path, _MAX_LINE_BYTES):
        if not raw.endswith(b"\n"):
            break
        line = parse_json(f"{path}:{number}", raw)
        if not isinstance(line, dict) or not isinstance(line.get("phase"), str):
            raise DataError(f"{path}:{number}: damaged (a line must be an object with a phase)")
        if bad := [key for key, value in line.items() if key != "phase" and not is_finite(value)]:
            raise DataError(f"{path}:{number}: damaged ({bad[0][:40]!r} must be a finite number)")
        left -= len(line) + _VALUES_A_LINE
        if left < 0:
            raise DataError(f"{path}:{number}: too large (over {_MAX_VALUES:,} values so far)")
        line["phase"] = names.setdefault(line["phase"], line["phase"])
        lines.append({names.setdefault(name, name): value for name, value in line.items()})
        if len(names) > _MAX_NAMES:
            raise DataError(f"{path}:{number}: damaged (more than {_MAX_NAMES:,} different names)")
    return lines
