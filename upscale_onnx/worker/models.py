"""Sends models to the worker and back: small ones as bytes, large ones through a file, tensor by tensor.

As bytes, a large model would be held in memory two more times, and protobuf cannot serialise more than 2 GB.
"""

from __future__ import annotations

import math
import pickle
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:  # a compile starts the worker first, and onnx is slow to import
    import onnx

_LARGE_ELEMENTS = 2**23
_LENGTH = struct.Struct("<Q")


def is_model(value: object) -> TypeGuard[onnx.ModelProto]:
    """Whether `value` is an ONNX model."""
    module = sys.modules.get("onnx")
    return module is not None and isinstance(value, module.ModelProto)


def reduced(model: onnx.ModelProto, files: list[str]) -> tuple[Callable[..., onnx.ModelProto], tuple[Any, ...]]:
    """A function and its arguments that rebuild `model`, as pickle wants it.

    The file that is written for a large model is added to `files`; unpickling removes it.
    """
    # Elements are counted, not bytes, because protobuf would serialise the message to count its bytes.
    if sum(math.prod(tensor.dims) for tensor in model.graph.initializer) <= _LARGE_ELEMENTS:
        return _parsed, (pickle.PickleBuffer(model.SerializeToString()),)
    with tempfile.NamedTemporaryFile("wb", prefix="upscale_onnx-", suffix=".part", delete=False) as file:
        files.append(file.name)
        for part in _parts(model):
            file.write(_LENGTH.pack(len(part)))
            file.write(part)
    return _read, (file.name,)


def _parts(model: onnx.ModelProto) -> Iterator[bytes]:
    """Serialised parts that give `model` when merged in turn: all but the initializers, then each initializer."""
    rest = type(model)()
    for field, value in model.ListFields():
        if field.name != "graph":
            _set(rest, field.name, value)
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            _set(rest.graph, field.name, value)
    yield rest.SerializeToString()
    for tensor in model.graph.initializer:
        piece = type(model)()
        piece.graph.initializer.append(tensor)
        yield piece.SerializeToString()


def _set(target: Any, name: str, value: Any) -> None:
    if hasattr(value, "MergeFrom"):
        getattr(target, name).MergeFrom(value)
    else:
        setattr(target, name, value)


def _parsed(data: bytes | bytearray) -> onnx.ModelProto:
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(bytes(data))
    return model


def _read(path: str) -> onnx.ModelProto:
    import onnx

    model = onnx.ModelProto()
    with Path(path).open("rb") as file:
        while length := file.read(_LENGTH.size):
            model.MergeFromString(file.read(*_LENGTH.unpack(length)))
    Path(path).unlink()
    return model
