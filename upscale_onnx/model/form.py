"""The form of a model: which operators it has, on tensors of which shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator

import onnx

from upscale_onnx.model.protos import inner_graphs


def has_same_form(one: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    """Whether both models have the same operators, and constants of the same shapes, in any order and with any values.

    If so, neither model is smaller or faster than the other.
    """
    # Smaller models nearly always have smaller constants.
    mine, others = _graphs(one), _graphs(other)
    same = Counter(_constants(mine)) == Counter(_constants(others))
    return same and Counter(_operators(mine)) == Counter(_operators(others))


def _graphs(model: onnx.ModelProto) -> tuple[onnx.GraphProto, ...]:
    """The graph of `model` and all bodies in it."""
    return (model.graph, *inner_graphs(model.graph))


def _constants(graphs: Iterable[onnx.GraphProto]) -> Iterator[Hashable]:
    """The types and shapes of constants. Initializers and Constant nodes are not told apart."""
    for graph in graphs:
        yield from ((tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer)
        for attribute in (a for node in graph.node if _is_constant(node) for a in node.attribute):
            if attribute.HasField("t"):
                yield attribute.t.data_type, tuple(attribute.t.dims)


def _operators(graphs: Iterable[onnx.GraphProto]) -> Iterator[Hashable]:
    return ((node.op_type, node.domain) for graph in graphs for node in graph.node if not _is_constant(node))


def _is_constant(node: onnx.NodeProto) -> bool:
    return bool(node.op_type == "Constant" and not node.domain)
