"""Files of lines that several processes add to, one at a time.

The system releases the lock of a process when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: no two processes can share a file there
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[IO[bytes]]:
    """A context in which no other process is in one of the same path. It waits for its turn, and yields the file."""
    with path.open("a+b") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


@contextlib.contextmanager
def appending(path: Path) -> Iterator[IO[bytes]]:
    """A context with the file at `path`, whose end can be written to by nobody else.

    A last line without an end, of a process that was killed while it wrote, is cut off first.
    """
    with exclusive(path) as file:
        mend(file)
        yield file
        file.flush()


def mend(file: IO[bytes]) -> None:
    """Cut off what stands behind the last line feed of `file`, which nobody else writes to now."""
    size = file.seek(0, os.SEEK_END)
    keep = size
    while keep > 0:
        start = max(keep - 4096, 0)
        file.seek(start)
        found = file.read(keep - start).rfind(b"\n")
        if found >= 0:
            keep = start + found + 1
            break
        keep = start
    if keep < size:
        file.truncate(keep)
    file.seek(0, os.SEEK_END)
