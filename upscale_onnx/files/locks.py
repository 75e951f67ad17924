"""File locks that tell whether a writer is alive, and keep writers of one folder apart.

The system releases the locks of a process when it ends.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from upscale_onnx.errors import ArgumentError

try:
    import fcntl
except ImportError:  # Windows, where a file that a process holds open cannot be removed, so no lock is needed
    fcntl = None  # type: ignore[assignment]


def lock(file: IO[Any], path: Path) -> bool:
    """Lock `file`, which was just made at `path`. Return False if another process took it for abandoned before.

    On a file system without locks, no file is taken for abandoned.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """A context that yields whether the file at `path` was left by a writer of this package that has ended.

    The context holds the lock of the file, so that the answer stays true.
    """
    if fcntl is None:
        yield path.is_file()
        return
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield False
        return
    try:
        yield _is_free(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone_in(folder: Path, *, waits: bool = False) -> Iterator[None]:
    """A context in which no other process is in one of the same folder. waits: for its turn.

    On a file system without locks, and on Windows, others are not noticed.

    Raises: ArgumentError if another process is in one, and this does not wait.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not _takes(handle, waits):
            raise ArgumentError(f"{folder}: another process writes there: wait until it ends, or choose another folder")
        yield
    finally:
        os.close(handle)


def _takes(handle: int, waits: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_free(handle: int) -> bool:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
