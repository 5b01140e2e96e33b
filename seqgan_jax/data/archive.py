"""Files of a folder or an archive, in the order of their names.

Nothing is unpacked to disk; what an archive may make its reader decompress or hold is bounded.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator

from seqgan_jax.checked import DataError
from seqgan_jax.data.bounded import Forward, Modest, Readable, bomb
from seqgan_jax.files import briefly

MIDI_SUFFIXES = (".mid", ".midi")
MAX_MEMBER_BYTES = 10_000_000  # of one file
MAX_TOTAL_BYTES = 500_000_000  # of an archive, decompressed: a bomb stops here
MAX_MEMBERS = 1_000_000

_TAR, _GZIPPED_TAR, _ZIP = (".tar",), (".tar.gz", ".tgz"), (".zip",)
_DRIVE = re.compile(r"[A-Za-z]:")
_SHOWN = 200  # characters of a name in messages
_BLOCK = 512  # a tar's unit; one of zeros ends it


class Members:
    """Files found, as pairs of a printable name and the content, sorted by name.

    `len` is their number. Iterating over those of a folder reads them one at a time.

    Attributes:
      loaders: names and what gives their content, or raises DataError where a file is too large or
        a folder's has become unreadable; for those who go on with the others.
    """

    def __init__(self, loaders: list[tuple[str, Callable[[], bytes]]]) -> None:
        self.loaders = sorted(loaders, key=lambda item: item[0])

    def __len__(self) -> int:
        return len(self.loaders)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Raises DataError as the loaders do; that ends it."""
        for name, load in self.loaders:
            yield name, load()


def members(path: str, suffixes: tuple[str, ...] = MIDI_SUFFIXES) -> Members:
    """Finds files by their suffix, in small letters or capitals.

    Args:
      path: one such file; a folder, searched with all folders in it; a `.tar`, `.tar.gz`, `.tgz` or
        `.zip`, which is read whole. Links and devices in archives are passed over.
      suffixes: in small letters.

    Returns:
      The files, at least one; names are relative to the folder, or as the archive has them.

    Raises:
      DataError: there is no such path, it is damaged, holds no such file, holds more than the
        bounds above admit, or a member's path leads out of the archive.
    """
    if not os.path.isdir(path) and not os.path.isfile(path):
        raise DataError(f"{path}: no such file or folder")
    wanted = " or ".join(suffixes)
    lowered = path.lower()
    try:
        if os.path.isdir(path):
            loaders = _in_folder(path, suffixes)
        elif lowered.endswith(suffixes):
            loaders = [(_printable(os.path.basename(path)), functools.partial(_read, path))]
        elif lowered.endswith(_TAR + _GZIPPED_TAR + _ZIP):
            archive = _Archive(path, suffixes)
            (_read_zip if lowered.endswith(_ZIP) else _read_tar)(archive)
            loaders = archive.loaders
        else:
            raise DataError(
                f"{path}: must be a folder, a {wanted} file, or an archive of them that ends in "
                f"{', '.join(_TAR + _GZIPPED_TAR + _ZIP)}"
            )
    except DataError:
        raise
    except Exception as error:  # what damage makes the libraries raise is of a dozen kinds
        raise DataError(f"{path}: cannot be read: {briefly(error)}") from error
    if not loaders:
        raise DataError(f"{path}: no file in it ends in {wanted}")
    return Members(loaders)


def _printable(name: str) -> str:
    """A name fit for messages: control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _brief(name: str) -> str:
    """The same, of whatever length it is."""
    return _printable(name[:_SHOWN]) + "..." * (len(name) > _SHOWN)


def _too_large() -> str:
    return f"larger than {MAX_MEMBER_BYTES:,} bytes; remove it"


def _in_folder(path: str, suffixes: tuple[str, ...]) -> list[tuple[str, Callable[[], bytes]]]:
    """Loaders of the regular files below a folder; linked folders are not entered."""

    def refuse(error: OSError) -> None:
        raise error

    loaders: list[tuple[str, Callable[[], bytes]]] = []
    for folder, _, names in os.walk(path, onerror=refuse):
        for name in names:
            full = os.path.join(folder, name)
            if not name.lower().endswith(suffixes) or not os.path.isfile(full):
                continue
            relative = os.path.relpath(full, path).replace(os.sep, "/")
            loaders.append((_printable(relative), functools.partial(_read, full)))
            if len(loaders) > MAX_MEMBERS:
                raise DataError(f"{path}: more than {MAX_MEMBERS:,} files; give a smaller folder")
    return loaders


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_MEMBER_BYTES + 1)
    except OSError as error:
        raise DataError(f"{_printable(path)}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_MEMBER_BYTES:
        raise DataError(f"{_printable(path)}: {_too_large()}")
    return data


class _Archive:
    """What has been read of an archive, and how much of its bounds that used up."""

    def __init__(self, path: str, suffixes: tuple[str, ...]) -> None:
        self.path = path
        self.loaders: list[tuple[str, Callable[[], bytes]]] = []
        self._suffixes = suffixes
        self._num_members = 0
        self._num_bytes = 0

    def wants(self, name: str, size: int, regular: bool) -> bool:
        """Whether to read the next member; counts it and checks its path and announced size."""
        self._num_members += 1
        if self._num_members > MAX_MEMBERS:
            raise DataError(f"{self.path}: more than {MAX_MEMBERS:,} members; give a smaller one")
        parts = name.replace("\\", "/").split("/")
        if parts[0] == "" or _DRIVE.match(name) or ".." in parts:
            raise DataError(
                f"{self.path}: {_brief(name)}: a member's path must lie inside the archive"
            )
        wanted = regular and name.lower().endswith(self._suffixes)
        if wanted and size > MAX_MEMBER_BYTES:
            self.refuse(name, _too_large())
            return False
        return wanted

    def add(self, name: str, data: bytes) -> None:
        """Holds a member that was read; its announced size may have been a lie."""
        self._num_bytes += len(data)
        if self._num_bytes > MAX_TOTAL_BYTES:
            raise bomb(self.path, MAX_TOTAL_BYTES)
        if len(data) > MAX_MEMBER_BYTES:
            self.refuse(name, _too_large())
        else:
            self.loaders.append((_printable(name), lambda: data))

    def refuse(self, name: str, why: str) -> None:
        """Puts in a member's place what raises once it is asked for."""

        def load() -> bytes:
            raise DataError(f"{self.path}: {_brief(name)}: {why}")

        self.loaders.append((_printable(name), load))


def _read_zip(archive: _Archive) -> None:
    with Modest(archive.path) as content, zipfile.ZipFile(content) as file:
        for info in file.infolist():
            regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            if not archive.wants(info.filename, info.file_size, regular and not info.is_dir()):
                continue
            # The others are decompressed without a bound on what one read may give.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                archive.refuse(info.filename, "must be stored or deflated")
                continue
            try:
                with file.open(info) as member:
                    data = member.read(MAX_MEMBER_BYTES + 1)
            except Exception as error:  # one damaged or encrypted member among good ones
                archive.refuse(info.filename, f"cannot be read: {briefly(error)}")
            else:
                archive.add(info.filename, data)


class _Tar(tarfile.TarFile):
    members: list[tarfile.TarInfo]  # headers read so far
    pax_headers: dict[str, str]  # what some of them say of all behind them


def _read_tar(archive: _Archive) -> None:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(archive.path, "rb"))
        plain: Readable = file
        if archive.path.lower().endswith(_GZIPPED_TAR):
            plain = stack.enter_context(gzip.GzipFile(fileobj=file))
        stream = Forward(plain, archive.path, MAX_MEMBER_BYTES, MAX_TOTAL_BYTES)
        with stream.header():
            tar = stack.enter_context(_Tar.open(fileobj=stream, mode="r:"))
        while True:
            with stream.header():
                member = tar.next()
            if member is None:
                break
            tar.members.clear()  # tarfile would keep all
            tar.pax_headers.clear()
            if not archive.wants(member.name, member.size, member.isreg()):
                continue
            content = tar.extractfile(member)
            assert content is not None  # a regular file
            archive.add(member.name, content.read())
        # To tarfile a damaged header is the end, as the block of zeros is that should stand there.
        if stream.last_read != bytes(_BLOCK):
            raise DataError(f"{archive.path}: damaged behind byte {stream.tell() - _BLOCK:,}")
        # Only at its very end does gzip compare its checksum.
        while stream.read(1 << 16):
            pass
