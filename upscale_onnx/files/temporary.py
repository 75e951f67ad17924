"""The folder for temporary files. A compile puts large models and profiles there."""

from __future__ import annotations

import errno
import tempfile

from upscale_onnx.errors import ArgumentError

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS))


def check_temporary_folder() -> None:
    """Check that there is a folder for temporary files.

    Raises: ArgumentError where no such folder can be written to.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise ArgumentError(
            "no folder for temporary files can be written to: make room on the disk, or set TMPDIR to one that can"
        ) from None


def is_full(error: OSError) -> bool:
    """Whether the cause of `error` is a disk that is full, over its quota or read-only."""
    return error.errno in _FULL
