"""Archives as streams that give no more at once, and no more in all, than there is reason to."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import Protocol

from seqgan_jax.checked import DataError

MAX_DIRECTORY_BYTES = 30_000_000  # of a zip: what is held of each member is twelve times as large
MAX_HEADER_BYTES = 1 << 18  # of one member of a tar, in all that stands before it
MAX_HEADERS_BYTES = 300_000_000  # of all of them

# tarfile looks for a word behind digits from each of them on; no number in a header is as long.
_DIGITS = re.compile(rb"[0-9]{25}")


def bomb(path: str, most: int) -> DataError:
    """The error of an archive that holds too much."""
    return DataError(f"{path}: more than {most:,} bytes when decompressed; give a smaller archive")


class Modest(io.FileIO):
    """A zip whose directory, which zipfile reads in one go, is of a bounded size."""

    def read(self, size: int | None = -1) -> bytes:
        """Raises DataError where it would be too much."""
        left = os.fstat(self.fileno()).st_size - self.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > MAX_DIRECTORY_BYTES:
            raise DataError(f"{self.name}: a directory of {wanted:,} bytes; give a smaller archive")
        return super().read(size) or b""


class Readable(Protocol):
    """What `Forward` asks of a file."""

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes."""
        ...


class Forward(io.RawIOBase):
    """A file that is read forward, no further than the bound on what an archive may hold.

    Args of the constructor:
      file: the tar, decompressed.
      path: of the archive, for errors.
      most_a_read: bytes of a member.
      most: bytes in all.
    """

    def __init__(self, file: Readable, path: str, most_a_read: int, most: int) -> None:
        self.last_read = b""
        self._file = file
        self._path, self._most_a_read, self._most = path, most_a_read, most
        self._position = 0
        self._header = 0  # bytes that the next member's headers may still have
        self._headers = MAX_HEADERS_BYTES  # and those of all
        self._in_header = False

    @contextlib.contextmanager
    def header(self) -> Iterator[None]:
        """Within it no more is read than a member's headers need."""
        self._header, self._in_header = MAX_HEADER_BYTES, True
        yield
        self._in_header = False

    def readable(self) -> bool:
        """As it is."""
        return True

    def tell(self) -> int:
        """Bytes read so far."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Raises DataError where it would be too much."""
        if not 0 <= size <= (self._header if self._in_header else self._most_a_read):
            raise DataError(f"{self._path}: damaged: a header of {size:,} bytes")
        found = self._read(size)
        if self._in_header:
            self._header, self._headers = self._header - size, self._headers - size
            if self._headers < 0 or _DIGITS.search(found):
                raise DataError(f"{self._path}: damaged: headers of no sense, or too many")
        return found

    def _read(self, size: int) -> bytes:
        self.last_read = self._file.read(size)
        self._position += len(self.last_read)
        if self._position > self._most:
            raise bomb(self._path, self._most)
        return self.last_read

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Reads on to there."""
        if whence != os.SEEK_SET or position < self._position:
            raise DataError(f"{self._path}: damaged: a member that starts before the last one ends")
        while self._position < position and self._read(min(position - self._position, 1 << 16)):
            pass
        return self._position
