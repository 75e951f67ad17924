"""A model serialised in pieces. Serialised as a whole, protobuf would hold two more copies of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import EncodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import GraphProto, ModelProto

from upscale_onnx.model.protos import copy_fields
from upscale_onnx.model.stored import stated_bytes, varint_length, whole, whole_bytes

_LENGTH_DELIMITED = 2  # the protobuf wire type of a message
_MAX_BYTES = 2**31 - 1


def pieces(model: ModelProto) -> Iterator[bytes]:
    """The bytes of `model.SerializeToString(deterministic=True)`, one initializer at a time.

    Raises:
        EncodeError: the model is larger than a protobuf message may be.
    """
    before, after = _around(model, "graph")
    first, last = _around(model.graph, "initializer")
    sizes = _sizes(model.graph)
    tag = _tag(GraphProto, "initializer")
    length = len(first) + len(last) + sum(len(tag) + varint_length(size) + size for size in sizes)
    head = _tag(ModelProto, "graph") + _varint(length)
    total = len(before) + len(head) + length + len(after)
    if total > _MAX_BYTES:
        raise EncodeError("larger than the 2 GB of a protobuf message")
    if not model.HasField("graph") or len(UnknownFieldSet(model)) or len(UnknownFieldSet(model.graph)):
        # Fields of an ONNX newer than the installed one cannot be put in their place here.
        yield model.SerializeToString(deterministic=True)
        return
    yield before + head + first
    for tensor, size in zip(model.graph.initializer, sizes, strict=True):
        yield tag + _varint(size) + whole(tensor).SerializeToString(deterministic=True)
    yield last + after


def digest(model: ModelProto) -> str:
    """The SHA-256 checksum of `model`, with all its weights, in hexadecimal."""
    checksum = hashlib.sha256()
    for piece in pieces(model):
        checksum.update(piece)
    return checksum.hexdigest()


def file_bytes(model: ModelProto) -> int:
    """The bytes that `model` takes as a file, external data included."""
    outer = sum(len(part) for part in (*_around(model, "graph"), *_around(model.graph, "initializer")))
    tag = len(_tag(GraphProto, "initializer"))
    inner = outer + sum(tag + varint_length(size) + size for size in map(stated_bytes, model.graph.initializer))
    return inner + len(_tag(ModelProto, "graph")) + varint_length(inner)


def _sizes(graph: GraphProto) -> list[int]:
    """The bytes of each initializer. Protobuf would serialise the whole model to find its size, so it is not asked."""
    return [whole_bytes(tensor) for tensor in graph.initializer]


def _around(message: Any, name: str) -> tuple[bytes, bytes]:
    """The serialised fields of `message` before and after the one called `name`."""
    fields, number = message.DESCRIPTOR.fields, message.DESCRIPTOR.fields_by_name[name].number
    before, after = type(message)(), type(message)()
    copy_fields(message, before, skip=[field.name for field in fields if field.number >= number])
    copy_fields(message, after, skip=[field.name for field in fields if field.number <= number])
    return before.SerializeToString(deterministic=True), after.SerializeToString(deterministic=True)


def _tag(message: Any, name: str) -> bytes:
    return _varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | _LENGTH_DELIMITED)


def _varint(value: int) -> bytes:
    """Encode a number as a varint: seven bits a byte, the lowest first, with the top bit set in all but the last."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
