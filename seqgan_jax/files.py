"""Files that anybody may have written: regular ones alone, and no larger than they need to be."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from typing import Any, BinaryIO

from seqgan_jax.checked import DataError

MAX_JSON_BYTES = 50_000_000  # a vocabulary of a million words is half of it


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
      DataError: it cannot be read, is damaged, or is larger than 50 MB.
    """
    return parse_json(path, read_file(path, MAX_JSON_BYTES))


def check_npz(file: BinaryIO, most: int) -> None:
    """Checks what an `.npz` will hold before NumPy reads it, which takes all that is announced.

    Args:
      file: the archive; is read from its beginning and left there.
      most: bytes of all arrays together.

    Raises:
      DataError: they hold more, or are packed so that reading a part may give any amount.
      zipfile.BadZipFile: it is no archive; and what else zipfile may raise of damage.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if sum(member.file_size for member in members) > most:
        raise DataError(f"its arrays have more than {most:,} bytes")
    if {member.compress_type for member in members} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise DataError("its arrays must be stored or deflated")
    file.seek(0)


def is_finite(value: Any) -> bool:
    """Whether a value of JSON is a number that a float holds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def briefly(error: Exception) -> str:
    """A damaged file's own words may stand in it, and be long."""
    words = str(error) or type(error).__name__
    return words if len(words) <= 200 else f"{words[:200]}..."
