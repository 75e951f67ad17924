"""All tensors of a model, wherever they are, and the length of their data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto

from upscale_onnx.model.protos import element_count

_PACKED_BITS = {
    getattr(TensorProto, name): bits
    for name, bits in (("UINT4", 4), ("INT4", 4), ("FLOAT4E2M1", 4), ("UINT2", 2), ("INT2", 2))
    if hasattr(TensorProto, name)
}
_TYPES = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}


def model_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor in the graphs, functions, attributes and training information of `model`.

    For a sparse tensor, these are its values and its indices.
    """
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_attributes(function.attribute_proto)
        for node in function.node:
            yield from _of_attributes(node.attribute)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from _of_sparse(graph.sparse_initializer)
    for node in graph.node:
        yield from _of_attributes(node.attribute)


def _of_attributes(attributes: Iterable[AttributeProto]) -> Iterator[TensorProto]:
    # All fields that are set count, not only those of the declared type: other readers may use any of them. Most
    # attributes are numbers, and one call says so.
    for attribute in attributes:
        for field, value in attribute.ListFields():
            if field.name in _WITH_TENSORS:
                yield from _WITH_TENSORS[field.name](value)


def _of_sparse(tensors: Iterable[SparseTensorProto]) -> Iterator[TensorProto]:
    for tensor in tensors:
        # Reading a field that is not set would set it.
        if tensor.HasField("values"):
            yield tensor.values
        if tensor.HasField("indices"):
            yield tensor.indices


# What reads the tensors in each field of an attribute that may hold some.
_WITH_TENSORS: Mapping[str, Callable[[Any], Iterable[TensorProto]]] = {
    "t": lambda tensor: (tensor,),
    "g": _of_graph,
    "tensors": iter,
    "graphs": lambda graphs: chain.from_iterable(map(_of_graph, graphs)),
    "sparse_tensor": lambda tensor: _of_sparse((tensor,)),
    "sparse_tensors": _of_sparse,
}


def is_external(tensor: TensorProto) -> bool:
    """Whether the values of `tensor` are in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def tensor_problem(tensor: TensorProto) -> str:
    """What is wrong with the declared type or shape of `tensor`; empty if nothing is."""
    if any(dim < 0 for dim in tensor.dims):
        return "has a negative dimension"
    if tensor.data_type not in _TYPES:
        return f"has the unknown data type {tensor.data_type}"
    return ""


def raw_length(tensor: TensorProto) -> int:
    """The bytes that the values of `tensor` take as raw data. It must hold no strings and have no `tensor_problem`."""
    count = element_count(tensor.dims)
    bits = _PACKED_BITS.get(tensor.data_type)
    if bits is not None:
        return (count * bits + 7) // 8
    return int(count * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def field_length(tensor: TensorProto) -> int:
    """The number of entries that the values of `tensor` take in the field for its data type."""
    count = element_count(tensor.dims)
    if tensor.data_type in _PACKED_BITS:
        return raw_length(tensor)
    return 2 * count if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128) else count
