"""The model of an experiment, and checksums of the files and settings of an experiment."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.model import load_model
from upscale_onnx.model.stream import digest

_LENGTH = 16
_BLOCK = 1 << 20


def open_model(name: str) -> onnx.ModelProto:
    """The model at the path `name`, or the network of torchvision with this name, with its best weights.

    Raises:
        ModelError: the file cannot be read.
        ArgumentError: there is no such network, or torchvision is missing.
    """
    if os.sep in name or name.lower().endswith(".onnx") or Path(name).exists():
        return load_model(name)
    from upscale_onnx.compat.zoo import torchvision_model

    return torchvision_model(name)


def model_checksum(model: onnx.ModelProto) -> str:
    """A checksum of the whole content of `model`, weights included."""
    return digest(model)[:_LENGTH]


def setup_checksum(paths: tuple[str | None, ...], *settings: object) -> str:
    """A checksum of the contents of files, of the names and sizes of the files in folders, and of `settings`.

    Raises: ArgumentError if a file or folder cannot be read.
    """
    checksum = hashlib.sha256(repr(settings).encode())
    for path in paths:
        try:
            _add(checksum, None if path is None else Path(path))
        except OSError as error:
            raise ArgumentError(f"{path}: cannot be read: {error.strerror or error}") from error
    return checksum.hexdigest()[:_LENGTH]


def _add(checksum: hashlib._Hash, path: Path | None) -> None:
    if path is None:
        checksum.update(b"none")
    elif path.is_dir():
        for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
            checksum.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
    else:
        with path.open("rb") as opened:
            while block := opened.read(_BLOCK):
                checksum.update(block)
