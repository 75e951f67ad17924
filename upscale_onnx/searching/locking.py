"""Which processes of a search live. The system releases the lock of a process when it ends, however it ends."""

from __future__ import annotations

import secrets
from pathlib import Path

from upscale_onnx.files.locks import abandoned, lock


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
