"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

# A link that somebody has put in a file's place is not followed.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_PARTIAL = re.compile(r".+\.(\d+)\.partial")


def write_atomically(path: str, contents: str | bytes | memoryview) -> None:
    """Writes a file so that readers see the old one or the new one, never a part.

    Text is written as UTF-8. The partial file has the process's own name: two that write the same
    file do not meet.

    Raises:
      OSError: it cannot be written; the old file stays, and no partial one does.
    """
    data = contents.encode() if isinstance(contents, str) else contents
    partial = f"{path}.{os.getpid()}.partial"
    with naming(path):
        try:
            with open(os.open(partial, _NEW, 0o666), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:  # an interrupt too
            with contextlib.suppress(OSError):
                os.remove(partial)
            raise
        sync_folder(os.path.dirname(path))


def remove_partial(folder: str) -> None:
    """Deletes the files that processes which are no more have left half written in a folder.

    Raises:
      OSError: as of the system.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in names:
        found = _PARTIAL.fullmatch(name)
        if found and not _lives(int(found[1])):
            os.remove(os.path.join(folder, name))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def write_json(path: str, value: Any) -> None:
    """Writes JSON, indented, atomically."""
    write_atomically(path, json.dumps(value, indent=2) + "\n")


def sync_folder(folder: str) -> None:
    """Brings the names in a folder to the disk: after a power cut too, what was renamed is.

    Raises:
      OSError: as of the system.
    """
    entry = os.open(folder or ".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Has an OSError raised within name the file, which that of a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = path
        raise
