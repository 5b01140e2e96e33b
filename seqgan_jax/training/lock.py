"""One process, or job of several, a folder."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import socket

from seqgan_jax.atomic import naming
from seqgan_jax.checked import ConfigError

FILE = ".lock"


class Lock:
    """Holds a folder against other processes, until it is released or the process dies.

    The system holds it, by a file that stays there; on network disks it must support flock.

    Args of the constructor:
      folder: made if it is missing.

    Raises:
      ConfigError: another process holds it, or it cannot be made or written.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._made: list[str] = []  # innermost first
        self._path = os.path.join(folder, FILE)
        self._file: int | None = None
        try:
            self._make(folder)
            self._file = self._taken()
        except OSError as error:
            self.release()
            raise ConfigError(
                f"--workdir={folder}: cannot be made or written ({error.strerror}: "
                f"{error.filename})"
            ) from error

    def _make(self, folder: str) -> None:
        missing, path = [], os.path.abspath(folder)
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        self._made = missing
        os.makedirs(folder, exist_ok=True)

    def _taken(self) -> int:
        while True:
            mode = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(self._path, mode, 0o666)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Whoever held it may have deleted it since, as `undo` does.
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file), os.stat(self._path)):
                        self._sign(file)
                        return file
            except BlockingIOError:
                self._made = []
                holder = os.read(file, 1000).decode(errors="replace").strip()
                os.close(file)
                raise ConfigError(
                    f"--workdir={self._folder}: another process trains there"
                    f"{f' ({holder})' if holder else ''}; wait for it, or give another --workdir"
                ) from None
            except BaseException:
                os.close(file)
                raise
            os.close(file)

    def _sign(self, file: int) -> None:
        now = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        words = f"process {os.getpid()} on {socket.gethostname()} since {now}\n"
        with naming(self._path):
            os.ftruncate(file, 0)
            os.write(file, words.encode())

    def release(self) -> None:
        """Lets others have the folder; a second time, nothing happens."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def undo(self) -> None:
        """Releases it, and deletes what was made for it, unless more has come to lie there."""
        with contextlib.suppress(OSError):
            if self._made and os.listdir(self._folder) == [FILE]:
                os.remove(self._path)
        self.release()
        with contextlib.suppress(OSError):
            for path in self._made:
                os.rmdir(path)
