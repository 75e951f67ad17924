"""The storage of a search: optuna's journal, with a lock that no killed process leaves behind."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO, Any, cast

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.appending import exclusive, mend

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
except ImportError as missing:
    raise ArgumentError("a search needs optuna: pip install 'upscale-onnx[search]'") from missing

__all__ = ["open_journal", "optuna"]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_journal(path: Path) -> JournalStorage:
    """The storage in the file at `path`, which is made where it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=cast(Any, _Lock(path))))


class _Lock:
    """A lock of the system's. Whoever has it finds the journal at the end of a line, whatever a killed process left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = contextlib.ExitStack()

    def acquire(self) -> bool:
        """Wait for the lock."""
        file: IO[bytes] = self._held.enter_context(exclusive(self._path))
        mend(file)
        return True

    def release(self) -> None:
        """Let others have it."""
        self._held.close()

    def __getstate__(self) -> Path:
        return self._path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)  # type: ignore[misc]
