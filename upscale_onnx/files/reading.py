"""Reading files of unknown origin: bytes up to a limit, and JSON with errors of one line."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from upscale_onnx.errors import ArgumentError

_MOST_JSON_BYTES = 2**26
_CHUNK = 2**20


class TooLarge(ValueError):
    """A file holds more bytes than its reader takes."""


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of the file at `path`, which may be a pipe.

    Raises:
        TooLarge: there are more than `most` bytes. A regular file is then not read at all.
        OSError: the file cannot be opened or read.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_size > most:
            raise TooLarge(f"it is larger than {most} bytes")
        if stat.S_ISREG(found.st_mode):
            return file.read()
        data = bytearray()
        while chunk := file.read(_CHUNK):
            data += chunk
            if len(data) > most:
                raise TooLarge(f"it is larger than {most} bytes")
        return bytes(data)


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """The value in the JSON file at `path`. An object with the same key twice is refused.

    Raises:
        ArgumentError: there is no such file, or it is not JSON. The message calls it the `what`.
    """
    file = Path(path)
    try:
        return json.loads(read_bounded(file, _MOST_JSON_BYTES).decode("utf-8"), object_pairs_hook=_unique_keys)
    except OSError as error:
        raise ArgumentError(f"{path}: cannot read the {what}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{path}: the {what} is not JSON: {' '.join(str(error).split())[:200]}") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{shortened(key)} occurs twice")
        found[key] = value
    return found


def shortened(value: object, limit: int = 60) -> str:
    """`value` as one line of at most `limit` characters, for errors: values from files may be of any length."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
