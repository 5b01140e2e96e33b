"""SIGTERM and SIGINT: the step is finished and saved first, as far as there is time."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from seqgan_jax.training.standard_output import say

# Schedulers kill half a minute after SIGTERM, or later.
_GRACE_SECONDS = 25.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):  # which no `except Exception` takes for an error
    """A signal has ended the run, after its state was saved."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


class Stop:
    """Within it, SIGINT and SIGTERM only ask the run to end; `requested` is then the signal.

    A second one ends the process at once, and so does the first after 25 seconds, within which most
    steps are done. Either is safe: files are written whole or not at all. Python looks at signals
    between its own instructions only, and a compiled call may be long: a thread watches beside it.

    Outside the main thread nothing is changed, and an ignored signal stays ignored.
    """

    def __init__(self) -> None:
        self.requested = 0
        self._active = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Stop:
        if not self._active:
            return self
        self._wakes, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        self._before: dict[int, Any] = {}
        for signum in _SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._note)
        self._fd_before = signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._active:
            return
        signal.set_wakeup_fd(self._fd_before)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        os.write(self._woken, b"\0")  # no signal: the watcher ends
        self._watcher.join()
        os.close(self._wakes)
        os.close(self._woken)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self.requested = self.requested or signum

    def _watch(self) -> None:
        """Runs beside the main thread, which may be inside a compiled call."""
        first = self._next(None)
        if first is None:
            return
        name = signal.Signals(first).name
        say(
            f"{name}: ends once this step is done and saved, in {_GRACE_SECONDS:.0f} seconds at "
            "most; once more ends it at once"
        )
        again = self._next(_GRACE_SECONDS)
        if again is None:
            return
        why = "again" if again else f"the step takes longer than {_GRACE_SECONDS:.0f} seconds"
        say(f"{name}: {why}; the same command resumes from the newest checkpoint, if any")
        os._exit(128 + first)

    def _next(self, seconds: float | None) -> int | None:
        """The next signal; 0 where none comes in time, None where there will be none."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._wakes], [], [], left)[0]:
                return 0
            signum = os.read(self._wakes, 1)[0]
            if signum == 0:
                return None
            if signum in _SIGNALS:
                self.requested = self.requested or signum
                return signum
