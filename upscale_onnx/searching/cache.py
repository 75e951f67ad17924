"""Results by the content of masks, in a file that all processes of a search share: a line of JSON for each."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from upscale_onnx.files.appending import appending
from upscale_onnx.files.publish import write_errors
from upscale_onnx.masks.pools import Masks


class Cache:
    """What is known of masks that were evaluated before, by this or another process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, dict[str, Any]] = {}
        self._read = 0

    def get(self, key: str) -> dict[str, Any] | None:
        """What is known under `key`."""
        if key not in self._found:
            self._update()
        return self._found.get(key)

    def put(self, key: str, known: dict[str, Any]) -> None:
        """Remember `known` under `key`, for all processes."""
        self._found[key] = known
        line = json.dumps({"key": key, **known}, separators=(",", ":")) + "\n"
        with write_errors(self._path), appending(self._path) as file:
            file.write(line.encode())

    def _update(self) -> None:
        """Read the lines that others have added."""
        if not self._path.exists() or self._path.stat().st_size == self._read:
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # of a process that is still writing it, or was killed there
                    break
                self._read += len(line)
                known = json.loads(line)
                self._found[known.pop("key")] = known


class Memory(Cache):
    """A cache in memory, of a process that does not share the file. new: what was added."""

    def __init__(self, known: dict[str, dict[str, Any]]) -> None:
        self._found = known
        self.new: dict[str, dict[str, Any]] = {}

    def put(self, key: str, known: dict[str, Any]) -> None:
        """Remember `known` under `key`."""
        self._found[key] = self.new[key] = known

    def _update(self) -> None:
        """Nothing: there is no file."""


def key_of(network: str, masks: Masks) -> str:
    """A hash of masks of the network with the digest `network`."""
    found = hashlib.sha256(network.encode())
    for weight in sorted(masks):
        found.update(weight.encode() + np.packbits(masks[weight]).tobytes() + bytes([masks[weight].size % 251]))
    return found.hexdigest()[:32]
