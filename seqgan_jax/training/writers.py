"""Metrics to files: metrics.jsonl and TensorBoard events."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import tensorboardX

from seqgan_jax.atomic import write_atomically
from seqgan_jax.checked import DataError
from seqgan_jax.files import is_finite, parse_json, read_file

FILE_NAME = "metrics.jsonl"
_MAX_BYTES = 400_000_000  # a million lines


class MetricsWriter:
    """Appends a line at a time; on resuming, lines of undone work are dropped first."""

    def __init__(self, workdir: str, lines_kept: int, step: int) -> None:
        self._path = os.path.join(workdir, FILE_NAME)
        self.lines = lines_kept
        if os.path.exists(self._path):
            with open(self._path, encoding="utf-8") as file:
                kept = file.readlines()[:lines_kept]
            write_atomically(self._path, "".join(kept))
        self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115  # closed by close()
        # TensorBoard drops events from this step on; the line at `step` itself is kept.
        self._events = tensorboardX.SummaryWriter(
            os.path.join(workdir, "tensorboard"), purge_step=step + 1 if lines_kept else 0
        )

    def write(self, line: Mapping[str, Any]) -> None:
        """Writes one object to metrics.jsonl and its numbers to TensorBoard."""
        # JSON has no NaN: a metric without a value is left out.
        values = {k: v for k, v in line.items() if not isinstance(v, float) or math.isfinite(v)}
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()
        self.lines += 1
        for name, value in values.items():
            if isinstance(value, float):
                self._events.add_scalar(f"{line['phase']}/{name}", value, line["step"])

    def sync(self) -> None:
        """Brings everything written so far to the disk, before a checkpoint counts on it."""
        os.fsync(self._file.fileno())
        self._events.flush()

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        self._events.close()


class NoWriter:
    """Stands for a writer in the processes that do not write; counts the lines as it does."""

    def __init__(self, workdir: str, lines_kept: int, step: int) -> None:
        del workdir, step
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
    *whole, _ = read_file(path, _MAX_BYTES).split(b"\n")
    for number, raw in enumerate(whole, 1):
        line = parse_json(f"{path}:{number}", raw)
        if not isinstance(line, dict) or not isinstance(line.get("phase"), str):
            raise DataError(f"{path}:{number}: damaged (a line must be an object with a phase)")
        if bad := [key for key, value in line.items() if key != "phase" and not is_finite(value)]:
            raise DataError(f"{path}:{number}: damaged ({bad[0][:40]!r} must be a finite number)")
        lines.append(line)
    return lines
