"""Lines of a UTF-8 file, and what is wrong with those that are none."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from typing import BinaryIO

from seqgan_jax.checked import DataError
from seqgan_jax.data.dataset import Progress

MAX_LINE = 1_000_000  # characters
_BLOCK = 1 << 20  # bytes read at a time
_MAX_BYTES = 4  # of a character in UTF-8


def open_file(path: str) -> BinaryIO:
    """Opens a regular file to read bytes.

    Raises:
      DataError: there is none, or it cannot be opened.
    """
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder; give a file")
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{path}: is no regular file")
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        raise DataError(f"{path}: cannot be read ({error})") from None


def read_blocks(path: str, progress: Progress | None = None) -> Iterator[tuple[int, list[str]]]:
    r"""Reads a UTF-8 file some lines at a time.

    A line ends at `\n` or `\r\n`; a byte order mark at the start of the file is dropped.

    Args:
      path: the file.
      progress: called with the share of bytes read.

    Yields:
      The number of the first line, from 1, and the lines without their ends.

    Raises:
      DataError: the file cannot be read, is not UTF-8, holds a NUL or a line of more than
        1,000,000 characters; names the line.
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
    return lines


def _too_wide(path: str, number: int) -> DataError:
    return DataError(
        f"{path}:{number}: more than {MAX_LINE:,} characters in one line; give one sequence a line"
    )
