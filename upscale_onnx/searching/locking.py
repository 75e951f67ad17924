"""Locks between the processes of a search, which the system releases when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from upscale_onnx.files.locks import abandoned, lock

try:
    import fcntl
except ImportError:  # Windows: no two processes can share a search there
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


class Living:
    """A file that is locked for as long as this process lives, by whose name others can tell whether it does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.lock"):
            if not is_alive(folder, path.stem):
                path.unlink(missing_ok=True)
        is_locked = False
        while not is_locked:  # another process may remove it before it is locked
            self.token = secrets.token_hex(8)
            self._path = folder / f"{self.token}.lock"
            self._file = self._path.open("xb")
            is_locked = lock(self._file, self._path)

    def close(self) -> None:
        """End the life."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def is_alive(folder: Path, token: str) -> bool:
    """Whether the process with this token lives."""
    path = folder / f"{token}.lock"
    if not path.exists():
        return False
    with abandoned(path) as ended:
        return not ended
