"""Faults of a model that protobuf and onnx's checker accept."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from onnx import ModelProto, TensorProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model.protos import iter_nodes
from upscale_onnx.model.tensors import model_tensors

MOST_DIMENSIONS = 64  # numpy arrays have no more
_TEXT, _MESSAGE = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE


def check_wellformed(model: ModelProto, where: str) -> None:
    """Check that all of `model` can be read: its text, the attributes of its nodes, the form of its tensors.

    Raises:
        ModelError: it cannot; the message starts with `where`.
    """
    broken = _broken_text(model)
    if broken:
        raise ModelError(f"{where}: the {broken} is not UTF-8 text; the file is damaged")
    for node in iter_nodes(model.graph):
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                raise ModelError(
                    f"{where}: node '{node.name or node.op_type}' takes '{attribute.name}' from the attribute "
                    f"'{attribute.ref_attr_name}' of a function, but is in none"
                )
    for tensor in model_tensors(model):
        _check_form(tensor, where)
    for value in model.graph.input:
        rank = len(value.type.tensor_type.shape.dim)
        if rank > MOST_DIMENSIONS:
            raise ModelError(f"{where}: input '{value.name}' has {rank} dimensions; {MOST_DIMENSIONS} are supported")


def _check_form(tensor: TensorProto, where: str) -> None:
    if tensor.HasField("segment"):
        raise ModelError(f"{where}: tensor '{tensor.name}' is cut into segments, which no runtime reads")
    if len(tensor.dims) > MOST_DIMENSIONS:
        rank = len(tensor.dims)
        raise ModelError(f"{where}: tensor '{tensor.name}' has {rank} dimensions; {MOST_DIMENSIONS} are supported")


def _broken_text(message: Any) -> str:
    """A place in a message where text is not UTF-8; empty if there is none. Protobuf returns such text as bytes."""
    if isinstance(message, TensorProto):  # its other fields are numbers, and many
        broken = isinstance(message.name, bytes) or isinstance(message.doc_string, bytes)
        return "name or doc_string of a tensor" if broken else ""
    for field, value in message.ListFields():
        kind = field.type
        if kind == _TEXT:
            if bytes in map(type, [value] if isinstance(value, (str, bytes)) else value):
                return f"{field.name} of a {message.DESCRIPTOR.name}"
        elif kind == _MESSAGE:
            for part in (value,) if hasattr(value, "ListFields") else value:
                broken_part = _broken_text(part)
                if broken_part:
                    return broken_part
    return ""
