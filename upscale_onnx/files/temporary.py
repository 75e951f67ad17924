"""The folder for temporary files: where a compile keeps large models and what profilers write."""

from __future__ import annotations

import errno
import tempfile

from upscale_onnx.errors import ArgumentError

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS))


def check_temporary_folder() -> None:
    """Raises: ArgumentError where temporary files can be written nowhere."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise ArgumentError(
            "no folder for temporary files can be written to: make room, or name one that can in TMPDIR"
        ) from None


def is_full(error: OSError) -> bool:
    """Whether the disk is to blame for `error`: it is full, limited or read-only."""
    return error.errno in _FULL
