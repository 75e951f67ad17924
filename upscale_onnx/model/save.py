"""Saving: under its name, a file is whole or absent. The same model gives the same bytes."""

from __future__ import annotations

import hashlib
import os

import onnx
from google.protobuf.message import EncodeError
from onnx import ModelProto, TensorProto

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.files.publish import NewFiles, data_file, new_files, resolved, unwritable, write_errors
from upscale_onnx.model.external import refuse_external
from upscale_onnx.model.protos import copy_fields, one_line, stored_bytes
from upscale_onnx.model.stored import byte_view, stored_values, whole
from upscale_onnx.model.stream import pieces

# A protobuf file has at most 2 GiB; some of it is left for names and everything else that is no weight.
_EXTERNAL_OVER = 2**31 - 2**26
_EXTERNAL_MIN_BYTES = 1024
_EXTERNAL_ALIGN = 4096  # pages, so that a runtime can map each weight
_DIGEST_LETTERS = 16


def save_model(
    model: ModelProto,
    path: str | os.PathLike[str],
    *,
    external_over: int = _EXTERNAL_OVER,
    external_from: int = _EXTERNAL_MIN_BYTES,
    files: NewFiles | None = None,
) -> None:
    """Write `model` to `path`. An older file there is replaced only when all is written.

    A model whose initializers exceed `external_over` bytes is written with external data, in a file beside it; those
    of fewer than `external_from` bytes stay in the model. The data file is named after its content, so that an older
    model at `path` keeps its own data until it is replaced.

    files: the files to publish it with; None publishes it at once.

    Raises:
        ModelError: the folder is absent or read-only, the path is a directory, the disk is full, or the model has
            external data that was not loaded.
    """
    refuse_external(model, str(path))
    try:
        if files is not None:
            _write(files, model, path, external_over, external_from)
            return
        with new_files() as own:
            _write(own, model, path, external_over, external_from)
    except ArgumentError as error:
        raise ModelError(str(error)) from error
    except (EncodeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be written: {one_line(error)}") from error


def check_output(path: str | os.PathLike[str]) -> None:
    """Check, before any work is done, that a file can be written to `path`.

    Raises:
        ArgumentError: it cannot.
    """
    problem = unwritable(resolved(path))
    if problem:
        raise ArgumentError(f"{path}: {problem}")


def _write(
    files: NewFiles, model: ModelProto, path: str | os.PathLike[str], external_over: int, external_from: int
) -> None:
    if sum(stored_bytes(tensor) for tensor in model.graph.initializer) <= external_over:
        files.write(path, pieces(model))
        return
    target = resolved(path)
    outer, digest = _write_external(files, model, path, external_from)
    data = data_file(target, digest)
    for stub in outer.graph.initializer:
        if stub.data_location == TensorProto.EXTERNAL:
            stub.external_data.insert(0, onnx.StringStringEntryProto(key="location", value=data.name))
    draft = files.open(path, digest=None if data.exists() else digest)
    with write_errors(path):
        draft.file.writelines(pieces(outer))
    files.finish(draft)


def _write_external(
    files: NewFiles, model: ModelProto, path: str | os.PathLike[str], external_from: int
) -> tuple[ModelProto, str]:
    """Write the values of large initializers to a file beside `path`.

    Returns a copy of `model` that refers to this file, and the digest in the file's name.
    """
    outer = ModelProto()
    copy_fields(model, outer, skip=("graph",))
    copy_fields(model.graph, outer.graph, skip=("initializer",))
    digest = hashlib.sha256()
    draft = files.open(path)
    with write_errors(path):
        for tensor in model.graph.initializer:
            stub = outer.graph.initializer.add()
            if stored_bytes(tensor) < external_from:
                stub.CopyFrom(whole(tensor))
                continue
            raw = _raw_bytes(tensor)
            padding = bytes(-draft.file.tell() % _EXTERNAL_ALIGN)
            draft.file.write(padding)
            offset = draft.file.tell()
            draft.file.write(raw)
            digest.update(padding)
            digest.update(raw)
            stub.name, stub.data_type, stub.doc_string = tensor.name, tensor.data_type, tensor.doc_string
            stub.dims.extend(tensor.dims)
            stub.metadata_props.extend(tensor.metadata_props)
            stub.data_location = TensorProto.EXTERNAL
            for key, value in (("offset", offset), ("length", len(raw))):
                stub.external_data.add(key=key, value=str(value))
    files.finish(draft)
    name = digest.hexdigest()[:_DIGEST_LETTERS]
    draft.target = data_file(draft.target, name)
    return outer, name


def _raw_bytes(tensor: TensorProto) -> bytes | memoryview:
    mapped = stored_values(tensor)
    if mapped is not None:
        return byte_view(mapped)
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    return bytes(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)).raw_data)
