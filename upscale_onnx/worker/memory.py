"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def release_memory() -> None:
    """Give the memory that this process has freed back to the system, where the C library can do so (glibc).

    glibc keeps freed blocks of up to 32 MB. After a session of a large model, these are as large as its weights.
    """
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], object]:
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; Windows takes no None
        return int
    return found
