"""The interface of a model: the names, types and shapes of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import ModelProto, ValueInfoProto

from upscale_onnx.model import tensor_shape
from upscale_onnx.runtime.inputs import input_specs


def interface_difference(original: ModelProto, compiled: ModelProto) -> str:
    """How the inputs or outputs of two models differ, their order included; empty if they do not."""
    fed = {spec.name for spec in input_specs(original)}
    for kind, before, after in (
        ("input", [v for v in original.graph.input if v.name in fed], _fed_inputs(compiled)),
        ("output", list(original.graph.output), list(compiled.graph.output)),
    ):
        if [value.name for value in before] != [value.name for value in after]:
            return f"the {kind}s are {_names(after)} instead of {_names(before)}"
        for a, b in zip(before, after, strict=True):
            if not _same_type(a, b):
                return f"{kind} '{a.name}' is declared as {_declared(b)} instead of {_declared(a)}"
    return ""


def _fed_inputs(model: ModelProto) -> list[ValueInfoProto]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _same_type(a: ValueInfoProto, b: ValueInfoProto) -> bool:
    first, second = tensor_shape(a.type), tensor_shape(b.type)
    if first is None or second is None:
        return a.type.WhichOneof("value") == b.type.WhichOneof("value") and (
            a.type.tensor_type.elem_type == b.type.tensor_type.elem_type
        )
    sizes = zip(first.dims, second.dims, strict=False)
    return (
        first.dtype == second.dtype
        and first.rank == second.rank
        and not any(isinstance(x, int) and isinstance(y, int) and x != y for x, y in sizes)
    )


def _names(values: Sequence[ValueInfoProto]) -> str:
    return ", ".join(value.name for value in values) or "none"


def _declared(value: ValueInfoProto) -> str:
    shape = tensor_shape(value.type)
    if shape is None:
        return str(value.type.WhichOneof("value"))
    dims = ", ".join("?" if dim is None else str(dim) for dim in shape.dims)
    return f"{onnx.TensorProto.DataType.Name(shape.dtype).lower()}({dims})"
