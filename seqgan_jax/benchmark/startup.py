"""How long a user waits: from process start to the first training step, compilation cached."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

_POLL_SECONDS = 0.005
_EPOCHS = 3  # one more than is waited for
_PATIENCE_SECONDS = 600.0


def measure(command: Sequence[str], steps: int, tokens: int, runs: int) -> dict[str, Any]:
    """Starts the training program again and again, its compiled calls cached by the first time.

    Args:
      command: bin/train.py with its --config.
      steps: of an epoch of maximum likelihood.
      tokens: of an epoch.
      runs: how many warm starts the median is of.

    Returns:
      `seconds` warm, `cold_seconds` of the first start and, on Linux, the most memory that was
      resident in a warm one.
    """
    with tempfile.TemporaryDirectory() as folder:
        took = [
            _start(command, os.path.join(folder, f"run{index}"), folder, steps, tokens)
            for index in range(runs + 1)
        ]
    seconds = [each[0] for each in took]
    memory = [each[1] for each in took[1:] if each[1] is not None]
    return {
        "phase": "startup",
        "title": "process start to first MLE step",
        "seconds": statistics.median(seconds[1:]),
        "cold_seconds": seconds[0],
        **({"memory_bytes": max(memory)} if memory else {}),
    }


def _start(
    command: Sequence[str], workdir: str, cache: str, steps: int, tokens: int
) -> tuple[float, int | None]:
    """Seconds from the start of one process to the end of its first step, and its memory."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [
            *command,
            f"--workdir={workdir}",
            f"--config.schedule.g_pretrain_epochs={_EPOCHS}",
            # The first epoch's line is written behind its evaluation: next to none.
            f"--config.evaluation.eval_every={_EPOCHS}",
            "--config.evaluation.eval_samples=2",
        ],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": os.path.join(cache, "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_for_epoch(1, workdir, process)
        epoch_ended = time.perf_counter()
        second = _wait_for_epoch(2, workdir, process)
        memory = _most_resident(process.pid)
    finally:
        process.terminate()
        process.communicate()
    # The first epoch is one step and, behind it, all steps but one at the second epoch's pace.
    a_step = tokens / second["tokens_per_second"] / steps
    return epoch_ended - begun - (steps - 1) * a_step, memory


def _most_resident(pid: int) -> int | None:
    """Bytes. The kernel's rusage of a child would do, did it not count its parent's before exec."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            peak = next(line for line in file if line.startswith("VmHWM:"))
    except OSError:
        return None
    return int(peak.split()[1]) * 1024


def _wait_for_epoch(epoch: int, workdir: str, process: subprocess.Popen[str]) -> dict[str, Any]:
    """The line that the program writes at an epoch's end."""
    path = os.path.join(workdir, "metrics.jsonl")
    until = time.perf_counter() + _PATIENCE_SECONDS
    while time.perf_counter() < until:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                text = file.read()
            for line in text.splitlines(keepends=True):
                if line.endswith("\n") and json.loads(line).get("epoch") == epoch:
                    return dict(json.loads(line))
        if process.poll() is not None:
            stderr = process.stderr.read() if process.stderr else ""
            raise RuntimeError(f"the training program ended before epoch {epoch}: {stderr}")
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"no epoch {epoch} within {_PATIENCE_SECONDS:.0f} s: {path}")
