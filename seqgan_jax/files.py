"""Files that anybody may have written: regular ones alone, and no larger than they need to be."""

from __future__ import annotations

import itertools
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from seqgan_jax.checked import DataError

# Python holds thirty times as much of a file of empty lists.
_MAX_JSON_BYTES = 5_000_000  # of settings, of a summary, of an evaluation: a few KB
_MAX_DIRECTORY_BYTES = 100_000  # of an archive of a dozen arrays; zipfile holds ten times as much


def open_file(path: str) -> BinaryIO:
    """Opens a regular file to read bytes; a pipe would wait, and a device may have no end.

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


def read_file(path: str, most: int) -> bytes:
    """The whole of a regular file.

    Args:
      path: the file.
      most: bytes that it may have.

    Raises:
      DataError: it cannot be read, or is larger.
    """
    with open_file(path) as file:
        try:
            contents = file.read(most + 1)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error})") from None
    if len(contents) > most:
        raise DataError(f"{path}: damaged (larger than {most:,} bytes)")
    return contents


def read_lines(path: str, most: int) -> Iterator[tuple[int, bytes]]:
    r"""The lines of a regular file, one after another.

    Args:
      path: the file.
      most: bytes that a line may have.

    Yields:
      Its number, from 1, and the line with its `\n`, which the last may lack.

    Raises:
      DataError: the file cannot be read, or a line is longer; names it.
    """
    with open_file(path) as file:
        for number in itertools.count(1):
            try:
                line = file.readline(most + 1)
            except OSError as error:
                raise DataError(f"{path}:{number}: cannot be read ({error})") from None
            if len(line) > most:
                raise DataError(f"{path}:{number}: damaged (longer than {most:,} bytes)")
            if not line:
                return
            yield number, line


def parse_json(path: str, contents: bytes) -> Any:
    """What a file holds in JSON, of UTF-8.

    Raises:
      DataError: it is damaged.
    """
    try:
        return json.loads(contents.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({error})") from None


def read_json(path: str) -> Any:
    """A file of JSON.

    Raises:
      DataError: it cannot be read, is damaged, or is larger than 5 MB.
    """
    return parse_json(path, read_file(path, _MAX_JSON_BYTES))


class _Modest:
    """What zipfile asks of a file, which it reads the directory of an archive from in one go."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Raises DataError where it would be too much."""
        most = _MAX_DIRECTORY_BYTES + 1
        contents = self._file.read(most if size < 0 else min(size, most))
        if len(contents) > _MAX_DIRECTORY_BYTES:
            raise DataError(f"its directory has more than {_MAX_DIRECTORY_BYTES:,} bytes")
        return contents


def check_npz(file: BinaryIO, most: int) -> None:
    """Checks what an `.npz` will hold before NumPy reads it, which takes all that is announced.

    Args:
      file: the archive; is read from its beginning and left there.
      most: bytes of all arrays together.

    Raises:
      DataError: they hold more, are too many, or are packed so that reading a part may give any
        amount.
      zipfile.BadZipFile: it is no archive; and what else zipfile may raise of damage.
    """
    with zipfile.ZipFile(cast(BinaryIO, _Modest(file))) as archive:
        members = archive.infolist()
    if sum(member.file_size for member in members) > most:
        raise DataError(f"its arrays have more than {most:,} bytes")
    if {member.compress_type for member in members} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise DataError("its arrays must be stored or deflated")
    file.seek(0)


def is_finite(value: Any) -> bool:
    """Whether a value of JSON is a number that a float holds."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def briefly(error: Exception) -> str:
    """A damaged file's own words may stand in it, and be long."""
    words = str(error) or type(error).__name__
    return words if len(words) <= 200 else f"{words[:200]}..."
