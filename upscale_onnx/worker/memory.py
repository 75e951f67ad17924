"""Memory: what was freed goes back to the system, and garbage is looked for less often."""

from __future__ import annotations

import ctypes
import functools
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# New objects after which Python looks for garbage, instead of 700. A compile makes many objects that stay to its end,
# and Python would look through them again and again: a tenth of the time of a chain of 1,000 layers.
_NEW_OBJECTS = 200_000
_lock = threading.Lock()
_outer: list[tuple[int, int, int]] = []  # the thresholds before, once for each block that is running


def release_memory() -> None:
    """Give the memory that this process has freed back to the system, where the C library can do so (glibc).

    glibc keeps freed blocks of up to 32 MB. After a session of a large model, these are as large as its weights.
    """
    _trim()(0)


@contextmanager
def rare_collections() -> Iterator[None]:
    """In this block, Python looks for garbage less often, in all threads. Thresholds that are higher stay."""
    with _lock:
        _outer.append(gc.get_threshold())
        first, *others = _outer[-1]
        if 0 < first < _NEW_OBJECTS:
            gc.set_threshold(_NEW_OBJECTS, *others)
    try:
        yield
    finally:
        with _lock:
            before = _outer.pop()
            if not _outer:
                gc.set_threshold(*before)


@functools.cache
def _trim() -> Callable[[int], object]:
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; Windows takes no None
        return int
    return found
