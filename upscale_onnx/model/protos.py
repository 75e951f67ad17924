"""Copies of protos without their large parts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, ValueInfoProto

from upscale_onnx.model.operators import STANDARD_DOMAINS

# Tensors of up to this many elements keep their values in a skeleton, since shape inference needs the values that
# Reshape, Slice, Resize and others read. Of larger ones, the weights, it needs only the shapes.
SMALL_ELEMENTS = 1024
_OF_GRAPHS = frozenset({AttributeProto.GRAPH, AttributeProto.GRAPHS})
IR_WITH_FREE_INITIALIZERS = 4  # before it, every initializer had to be a graph input as well


def one_line(error: BaseException | str, limit: int = 300) -> str:
    """The message of `error`, or `error` itself if it is text, on one line of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def copy_fields(source: Any, target: Any, *, skip: Collection[str] = ()) -> None:
    """Copy every set field of the message `source` into the empty message `target`, except those in `skip`."""
    for field, value in source.ListFields():
        if field.name in skip:
            continue
        if hasattr(value, "MergeFrom"):  # a message or a repeated field; scalars have no such method
            getattr(target, field.name).MergeFrom(value)
        else:
            setattr(target, field.name, value)


def element_count(dims: Collection[int]) -> int:
    """The number of elements of a tensor of these dimensions; 1 for a scalar."""
    count = 1
    for dim in dims:
        count *= dim
    return count


def set_sizes(shape: TensorShapeProto, sizes: Iterable[int]) -> None:
    """Set the dimensions of `shape` to `sizes`."""
    shape.Clear()
    for size in sizes:
        shape.dim.add(dim_value=size)


def stored_bytes(tensor: TensorProto) -> int:
    """The bytes that the values of `tensor` take as external data; 0 for strings, which cannot be external."""
    if tensor.data_type == TensorProto.STRING:
        return 0
    return int(element_count(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def iter_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Every node of a graph and of its subgraphs."""
    yield from nodes_within(graph.node)


def nodes_within(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Each of `nodes`, and the nodes in its subgraphs behind it."""
    for node in nodes:
        yield node
        for subgraph in node_graphs(node):
            yield from nodes_within(subgraph.node)


def inner_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Every subgraph of the nodes of a graph and of its subgraphs."""
    for node in graph.node:
        found = node_graphs(node)
        yield from found
        for subgraph in found:
            yield from inner_graphs(subgraph)


def node_graphs(node: NodeProto) -> list[GraphProto]:
    """The subgraphs that the attributes of a node hold."""
    # Every node of a model comes by here many times, and nearly none holds a graph.
    return [
        subgraph
        for attribute in node.attribute
        if attribute.type in _OF_GRAPHS
        for subgraph in attribute_graphs(attribute)
    ]


def attribute_graphs(attribute: AttributeProto) -> Sequence[GraphProto]:
    """The subgraphs that an attribute holds."""
    if attribute.type == AttributeProto.GRAPH:
        return (attribute.g,)
    return tuple(attribute.graphs) if attribute.type == AttributeProto.GRAPHS else ()


def overridable(model: ModelProto) -> frozenset[str]:
    """The names of initializers that are only defaults of inputs: a caller may feed other values.

    Some exporters list all weights as inputs, although nobody is to feed them. If all are listed, none is returned.
    """
    if model.ir_version < IR_WITH_FREE_INITIALIZERS:
        return frozenset()
    weights = {t.name for t in model.graph.initializer} | {t.values.name for t in model.graph.sparse_initializer}
    listed = weights & {value.name for value in model.graph.input}
    return frozenset() if listed == weights else frozenset(listed)


def constant_value(node: NodeProto) -> TensorProto | None:
    """The tensor that a Constant node holds; None for other nodes, and for a Constant that holds no tensor."""
    if node.op_type != "Constant" or node.domain not in STANDARD_DOMAINS or len(node.output) != 1:
        return None
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.type == AttributeProto.TENSOR and not attribute.ref_attr_name:
            value: TensorProto = attribute.t
            return value
    return None


def skeleton(model: ModelProto) -> ModelProto:
    """A copy of `model` without its weights: large constants are declared as graph inputs of their shape.

    Defaults of inputs are left out, since a caller may feed other values.
    The checker and shape inference serialise the model that they get. With weights they would copy each of them, and
    fail beyond 2 GB. Both treat a graph input like an initializer of the same shape.
    """
    bare = ModelProto()
    copy_fields(model, bare, skip=("graph", "training_info"))
    graph = bare.graph
    graph.SetInParent()
    copy_fields(model.graph, graph, skip=("node", "initializer"))
    declared = {value.name for value in graph.input}
    defaults = overridable(model)
    for tensor in model.graph.initializer:
        if tensor.name in defaults:
            continue
        if element_count(tensor.dims) <= SMALL_ELEMENTS:
            graph.initializer.add().CopyFrom(tensor)
        elif tensor.name not in declared:
            graph.input.append(_declaration(tensor.name, tensor))
    for node in model.graph.node:
        value = constant_value(node)
        if value is None or element_count(value.dims) <= SMALL_ELEMENTS:
            graph.node.add().CopyFrom(node)
        else:
            graph.input.append(_declaration(node.output[0], value))
    return bare


def _declaration(name: str, tensor: TensorProto) -> ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
