"""What the allocator keeps of a compilation, given back to the system."""

from __future__ import annotations

import ctypes
import sys


def release() -> None:
    """Has glibc give back the free memory of all its arenas; elsewhere nothing happens.

    The compiler's threads leave hundreds of megabytes free that no later allocation of another
    thread takes (docs/performance.md). A single arena would not grow so, but compiles 1.6 times as
    slowly.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
