"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any


def write_atomically(path: str, contents: str | bytes | memoryview) -> None:
    """Writes a file so that readers see the old one or the new one, never a part.

    Text is written as UTF-8. The partial file has the process's own name: two that write the same
    file do not meet.

    Raises:
      OSError: it cannot be written; the old file stays, and no partial one does.
    """
    data = contents.encode() if isinstance(contents, str) else contents
    partial = f"{path}.{os.getpid()}.partial"
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.remove(partial)
        raise


def write_json(path: str, value: Any) -> None:
    """Writes JSON, indented, atomically."""
    write_atomically(path, json.dumps(value, indent=2) + "\n")
