"""Writing files: under its name, a file always holds either its old content or all of the new.

A file is written beside its target first, under a name of its own, and renamed when it is whole and on the disk. The
writer holds a lock on it, which the system releases when the process ends, however it ends. So the next writer of the
target can tell the remains of a killed process from a file that another process is still writing.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.locks import abandoned, lock

_LONGEST_STEM = 40  # characters; a name has at most 255 bytes
_TOKEN = "[0-9a-f]{16}"
Name = str | os.PathLike[str]


@dataclass(eq=False)
class DraftFile:
    """A file that is being written beside its target.

    name: the target, as error messages name it.
    target: the path to publish it at, links resolved. It may be changed until then.
    """

    name: str
    file: BinaryIO
    temporary: Path
    target: Path


class NewFiles:
    """Files that appear together, in the order in which they were opened."""

    def __init__(self) -> None:
        self._drafts: list[DraftFile] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to publish."""
        return not self._drafts

    def open(self, path: Name, *, digest: str | None = None) -> DraftFile:
        """A draft of the file at `path`. What killed processes left beside it is removed.

        digest: the digest in the name of this model's data file, if that file is new. It is published before the model.
            If the process is killed in between, a later writer removes it with the draft.

        Raises:
            ArgumentError: a file cannot be written there.
        """
        target = resolved(path)
        problem = unwritable(target)
        if problem:
            raise ArgumentError(f"{path}: {problem}")
        remove_leftovers(target)
        with write_errors(path):
            draft = _opened(str(path), target, digest)
        self._drafts.append(draft)
        return draft

    def write(self, path: Name, data: Iterable[bytes]) -> None:
        """Write `data` to a draft of the file at `path`.

        Raises:
            ArgumentError: it cannot be written.
        """
        draft = self.open(path)
        with write_errors(path):
            draft.file.writelines(data)
        self.finish(draft)

    def finish(self, draft: DraftFile) -> None:
        """Bring all of `draft` to the disk. Whether the disk is full may be known only here.

        Raises:
            ArgumentError: it cannot be written.
        """
        with write_errors(draft.name):
            draft.file.flush()
            os.fsync(draft.file.fileno())

    def publish(self) -> None:
        """Rename all drafts to their targets. If one fails, targets that did not exist before are removed again.

        Raises:
            ArgumentError: one cannot be renamed.
        """
        made: list[Path] = []
        try:
            for draft in self._drafts:
                if not draft.target.exists():
                    made.append(draft.target)
                with write_errors(draft.name):
                    _rename(draft)
        except BaseException:
            for target in made:
                _unlink(target)
            raise
        for folder in {draft.target.parent for draft in self._drafts}:
            _sync_folder(folder)
        self.discard()

    def discard(self) -> None:
        """Remove the drafts that are not published."""
        while self._drafts:
            draft = self._drafts.pop()
            with contextlib.suppress(OSError):  # what is still in a buffer may not fit on the disk
                draft.file.close()
            _unlink(draft.temporary)


@contextlib.contextmanager
def new_files() -> Iterator[NewFiles]:
    """A context with files to write. They are published when the block ends, and removed if it fails.

    Raises:
        ArgumentError: one cannot be written.
    """
    files = NewFiles()
    try:
        yield files
        files.publish()
    finally:
        files.discard()


def write_whole(data: bytes, path: Name, files: NewFiles | None = None) -> None:
    """Write `data` to the file at `path`: at once, or when `files` are published. Links are followed.

    Raises:
        ArgumentError: the file cannot be written.
    """
    if files is not None:
        files.write(path, [data])
        return
    with new_files() as own:
        own.write(path, [data])


def resolved(path: Name) -> Path:
    """`path` as an absolute path, links resolved.

    Raises:
        ArgumentError: `path` is relative, and the working directory no longer exists.
    """
    with write_errors(path):
        return Path(os.path.realpath(path))


def unwritable(target: Path) -> str:
    """Why no file can be written at `target`, whose links are resolved; empty if it can be."""
    if target.is_dir():
        return "is a directory; give a file name"
    if target.exists() and not target.is_file():
        return "is not a regular file"
    folder = target.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist; create it first"
    try:
        with tempfile.TemporaryFile(dir=folder):  # the only test that also sees quotas and read-only mounts
            return ""
    except OSError as error:
        return f"the folder {folder} cannot be written to: {error.strerror or error}"


def data_file(target: Path, digest: str) -> Path:
    """The file that holds the data of the model at `target`, named after its content."""
    return target.with_name(f"{target.name}.{digest}.data")


def remove_leftovers(target: Path) -> None:
    """Remove the drafts of `target` that killed processes left. Drafts that a living process is writing stay."""
    pattern = re.compile(rf"{re.escape(_prefix(target))}{_TOKEN}(?:-(?P<digest>{_TOKEN}))?\.tmp")
    with contextlib.suppress(OSError):  # without the right to list the folder, nothing is removed
        for entry in sorted(target.parent.iterdir()):
            found = pattern.fullmatch(entry.name)
            if found is None:
                continue
            with abandoned(entry) as is_abandoned:
                if is_abandoned:
                    if found["digest"]:
                        _unlink_older(data_file(target, found["digest"]), entry)
                    _unlink(entry)


@contextlib.contextmanager
def write_errors(path: Name) -> Iterator[None]:
    """A context that turns an OSError into an ArgumentError of one line, which starts with `path`."""
    try:
        yield
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be written: {error.strerror or error}") from error


def _prefix(target: Path) -> str:
    return f".{target.name[:_LONGEST_STEM]}."


def _opened(name: str, target: Path, digest: str | None) -> DraftFile:
    suffix = ".tmp" if digest is None else f"-{digest}.tmp"
    while True:
        temporary = target.parent / f"{_prefix(target)}{secrets.token_hex(8)}{suffix}"
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
        file = os.fdopen(os.open(temporary, flags, 0o666), "w+b")
        if lock(file, temporary):
            return DraftFile(name, file, temporary, target)
        file.close()  # another process took it for abandoned before it was locked
        _unlink(temporary)


def _rename(draft: DraftFile) -> None:
    if os.name == "nt":
        draft.file.close()  # Windows cannot rename an open file
    with contextlib.suppress(FileNotFoundError):
        draft.temporary.chmod(draft.target.stat().st_mode & 0o777)
    draft.temporary.replace(draft.target)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _unlink_older(path: Path, than: Path) -> None:
    """Remove the file at `path`, unless another process has written it anew."""
    with contextlib.suppress(OSError):
        if path.stat().st_mtime_ns <= than.stat().st_mtime_ns:
            path.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # some network file systems cannot sync folders; the file itself is on the disk
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
