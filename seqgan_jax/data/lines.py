"""Lines of a UTF-8 file, and what is wrong with those that are none."""

from __future__ import annotations

import codecs
import itertools
import os
import unicodedata
from collections.abc import Iterator

from seqgan_jax.checked import DataError
from seqgan_jax.data.dataset import Progress
from seqgan_jax.files import open_file

MAX_LINE = 1_000_000  # characters
_BLOCK = 1 << 20  # bytes read at a time
_MAX_BYTES = 4  # of a character in UTF-8
# Accents on one letter: Unicode's normal forms sort them in n^2 steps.
_MAX_MARKS = 1000
_MARKS_OF_KANA = "\uff9e\uff9f"  # of half width; NFKC makes them marks, which they are not else


def read_blocks(path: str, progress: Progress | None = None) -> Iterator[tuple[int, list[str]]]:
    r"""Reads a UTF-8 file some lines at a time.

    A line ends at `\n` or `\r\n`; a byte order mark at the start of the file is dropped.

    Args:
      path: the file.
      progress: called with the share of bytes read.

    Yields:
      The number of the first line, from 1, and the lines without their ends.

    Raises:
      DataError: the file cannot be read, is not UTF-8, holds a NUL, a line of more than 1,000,000
        characters or over 1,000 combining marks in a row; names the line.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        rest, number, done = b"", 1, len(codecs.BOM_UTF8)
        if file.read(done) != codecs.BOM_UTF8:
            done = file.seek(0)
        while True:
            try:
                block = file.read(_BLOCK)
            except OSError as error:
                raise DataError(f"{path}:{number}: cannot be read ({error})") from None
            done += len(block)
            end = block.rfind(b"\n") + 1
            if end or not block:
                lines = _decoded(path, number, rest + block[:end])
                if lines:
                    yield number, lines
                number += len(lines)
                rest = block[end:]
            else:
                rest += block
            if len(rest) > _MAX_BYTES * MAX_LINE:
                raise _too_wide(path, number)
            if progress is not None:
                progress(min(1.0, done / size) if block and size else 1.0)
            if not block:
                return


def _decoded(path: str, number: int, raw: bytes) -> list[str]:
    """Lines of whole lines' bytes; `number` is the first one's."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = number + raw.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x}: {error.reason}); "
            "save the file as UTF-8"
        ) from None
    if "\0" in text:
        line = number + text.count("\n", 0, text.index("\0"))
        raise DataError(f"{path}:{line}: holds a NUL, so it is no text; save the file as UTF-8")
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    if not lines[-1]:
        del lines[-1]  # behind the end of the last line is none
    if lines and max(map(len, lines)) > MAX_LINE:
        raise _too_wide(path, number + next(i for i, x in enumerate(lines) if len(x) > MAX_LINE))
    if not text.isascii():
        for line, content in enumerate(lines, number):
            if _is_marked(content):
                raise DataError(
                    f"{path}:{line}: over {_MAX_MARKS:,} combining marks in a row; remove them"
                )
    return lines


def _is_marked(line: str) -> bool:
    """Whether it has so many marks in a row that to normalise it would take long."""
    if not any(map(_is_mark, line[_MAX_MARKS::_MAX_MARKS])):
        return False  # a longer run stands at one of these places
    runs = (sum(1 for _ in run) for mark, run in itertools.groupby(line, _is_mark) if mark)
    return max(runs) > _MAX_MARKS


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or character in _MARKS_OF_KANA


def _too_wide(path: str, number: int) -> DataError:
    return DataError(
        f"{path}:{number}: more than {MAX_LINE:,} characters in one line; give one sequence a line"
    )
