"""Saving: a whole file under its name or none, the same bytes for the same model."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import EncodeError
from onnx import ModelProto, TensorProto

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.model.external import refuse_external
from upscale_onnx.model.protos import copy_fields, one_line, stored_bytes
from upscale_onnx.model.stream import pieces

# A protobuf file ends at 2 GiB; a little is left for names and everything that is no weight.
_EXTERNAL_OVER = 2**31 - 2**26
_EXTERNAL_MIN_BYTES = 1024
_EXTERNAL_ALIGN = 4096  # pages, so that a runtime can map each weight


def save_model(model: ModelProto, path: str | os.PathLike[str], *, external_over: int = _EXTERNAL_OVER) -> None:
    """Write `model` to `path`, replacing what is there only once all is written.

    A model whose initializers exceed `external_over` bytes is written with external data, in a file beside
    it that is named after its content, so that an older model of the same name stays whole until replaced.

    Raises:
        ModelError: the folder is absent or read-only, the path is a directory, the disk is full, or the model has
            external data that was not loaded.
    """
    refuse_external(model, str(path))
    target = Path(os.path.realpath(path))
    problem = _unwritable(target)
    if problem:
        raise ModelError(f"{path}: {problem}")
    try:
        if sum(stored_bytes(tensor) for tensor in model.graph.initializer) > external_over:
            model = _write_external(model, target)
        _replace(target, pieces(model))
    except (OSError, EncodeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be written: {one_line(error)}") from error


def check_output(path: str | os.PathLike[str], input_path: str | os.PathLike[str] | None = None) -> None:
    """Check, before any work is done, that a model can be written to `path`.

    Raises:
        ArgumentError: `path` is the input, by any name, or cannot be written.
    """
    target = Path(os.path.realpath(path))
    if input_path is not None and _same_file(target, Path(os.path.realpath(input_path))):
        raise ArgumentError(f"{path}: is the input itself; choose another name for the output")
    problem = _unwritable(target)
    if problem:
        raise ArgumentError(f"{path}: {problem}")


def _same_file(a: Path, b: Path) -> bool:
    return a == b or (a.exists() and b.exists() and a.samefile(b))


def _unwritable(target: Path) -> str:
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


@contextlib.contextmanager
def _atomic_file(folder: Path, stem: str) -> Iterator[tuple[BinaryIO, Path]]:
    """An open temporary file that is gone afterwards, unless it was renamed."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{stem[:64]}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, temporary
    finally:
        temporary.unlink(missing_ok=True)


def _publish(file: BinaryIO, temporary: Path, target: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()  # Windows renames no open file
    temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
    temporary.replace(target)
    _sync_folder(target.parent)


def _replace(target: Path, data: Iterable[bytes]) -> None:
    with _atomic_file(target.parent, target.name) as (file, temporary):
        file.writelines(data)
        _publish(file, temporary, target)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems cannot; the file itself is on disk
    finally:
        os.close(handle)


def _write_external(model: ModelProto, target: Path) -> ModelProto:
    """A copy of `model` that refers to its large initializers in a new file beside `target`."""
    outer = ModelProto()
    copy_fields(model, outer, skip=("graph",))
    copy_fields(model.graph, outer.graph, skip=("initializer",))
    digest = hashlib.sha256()
    with _atomic_file(target.parent, target.name) as (file, temporary):
        for tensor in model.graph.initializer:
            stub = outer.graph.initializer.add()
            if stored_bytes(tensor) < _EXTERNAL_MIN_BYTES:
                stub.CopyFrom(tensor)
                continue
            raw = tensor.raw_data if tensor.HasField("raw_data") else _raw_bytes(tensor)
            padding = bytes(-file.tell() % _EXTERNAL_ALIGN)
            file.write(padding)
            offset = file.tell()
            file.write(raw)
            digest.update(padding)
            digest.update(raw)
            stub.name, stub.data_type, stub.doc_string = tensor.name, tensor.data_type, tensor.doc_string
            stub.dims.extend(tensor.dims)
            stub.metadata_props.extend(tensor.metadata_props)
            stub.data_location = TensorProto.EXTERNAL
            for key, value in (("offset", offset), ("length", len(raw))):
                stub.external_data.add(key=key, value=str(value))
        name = f"{target.name}.{digest.hexdigest()[:16]}.data"
        _publish(file, temporary, target.parent / name)
    for stub in outer.graph.initializer:
        if stub.data_location == TensorProto.EXTERNAL:
            stub.external_data.insert(0, onnx.StringStringEntryProto(key="location", value=name))
    return outer


def _raw_bytes(tensor: TensorProto) -> bytes:
    return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)).raw_data
