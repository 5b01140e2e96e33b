"""What reading a large text file takes: seconds and memory, from the file and from the cache."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from seqgan_jax.data_hparams import TextDataHParams

LEVELS = ("whitespace", "word")

_TOKENS = 20  # a line
_TYPES = 50_000  # different tokens, their shares by Zipf's law
_BLOCK = 10_000  # lines made at a time
_KEY = "benchmark"  # of what is kept; nothing else is ever kept in that folder

# data.text.load_text, settings -> data, and data.cache.load_or_read, (folder, key, read) -> data.
# The program hands them in: what is timed lies in a room that benchmarks do not import.
LoadText = Callable[[TextDataHParams], Any]
LoadOrRead = Callable[[str, str, Callable[[], Any]], Any]


class Loading(NamedTuple):
    """What one file takes at one level."""

    level: str
    num_lines: int
    file_bytes: int
    seconds: float  # of reading and encoding it
    memory_bytes: int | None  # peak of resident memory above that before; None but on Linux
    cache_seconds: float  # of reading the encoded data back


def write_lines(path: str, num_lines: int, seed: int) -> None:
    """Writes lines of 20 words, w0 the most frequent of 50,000, by Zipf's law.

    Args:
      path: where to write.
      num_lines: how many.
      seed: of the words.
    """
    rng = np.random.default_rng(seed)
    shares = 1.0 / np.arange(1, _TYPES + 1)
    shares /= shares.sum()
    words = np.array([f"w{index}" for index in range(_TYPES)], object)
    with open(path, "w", encoding="ascii", newline="\n") as file:
        for start in range(0, num_lines, _BLOCK):
            size = (min(_BLOCK, num_lines - start), _TOKENS)
            rows = words[rng.choice(_TYPES, size, p=shares)].tolist()
            file.writelines(" ".join(row) + "\n" for row in rows)


def measure(
    path: str, level: str, num_lines: int, load_text: LoadText, load_or_read: LoadOrRead
) -> Loading:
    """Loads a file in this process, keeps it, and reads it back.

    Args:
      path: from `write_lines`.
      level: of the tokens.
      num_lines: of the file.
      load_text: reads and encodes it.
      load_or_read: keeps it, and reads it back.

    Returns:
      What that took; the memory is right only in a process that has not held as much before.
    """
    settings = TextDataHParams(path=path, level=level, max_length=_TOKENS)
    resident = _status_bytes("VmRSS")
    begun = time.perf_counter()
    dataset = load_text(settings)
    seconds = time.perf_counter() - begun
    peak = _status_bytes("VmHWM")
    with tempfile.TemporaryDirectory() as folder:
        load_or_read(folder, _KEY, lambda: dataset)
        begun = time.perf_counter()
        load_or_read(folder, _KEY, _nothing_kept)
        cache_seconds = time.perf_counter() - begun
    memory = None if resident is None or peak is None else peak - resident
    return Loading(level, num_lines, os.path.getsize(path), seconds, memory, cache_seconds)


def line(loading: Loading) -> str:
    """The figures in a few words."""
    memory = loading.memory_bytes
    peak = "memory unknown" if memory is None else f"{memory / 1e6:,.0f} MB more at the peak"
    return (
        f"{loading.level}: {loading.num_lines:,} lines of {_TOKENS} tokens, "
        f"{loading.file_bytes / 1e6:,.1f} MB: {loading.seconds:.4g} s, {peak}; "
        f"from the cache {loading.cache_seconds:.4g} s"
    )


def lines(
    load_text: LoadText, load_or_read: LoadOrRead, num_lines: int = 1_000_000, seed: int = 0
) -> Iterator[str]:
    """The figures of each level, once they are measured, in a process of its own for its peak."""
    context = multiprocessing.get_context("spawn")  # a fork would begin with all that is held here
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "lines.txt")
        write_lines(path, num_lines, seed)
        for level in LEVELS:
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                measured = pool.submit(measure, path, level, num_lines, load_text, load_or_read)
                yield line(measured.result())


def _nothing_kept() -> NoReturn:
    raise RuntimeError("the data were not kept")


def _status_bytes(name: str) -> int | None:
    """A field of the kernel's account of this process; None where there is none."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            fields = dict(entry.split(":", 1) for entry in file)
        return int(fields[name].split()[0]) * 1024
    except (OSError, KeyError):
        return None
