"""The form of a model: which operators it has, on tensors of which shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator

import onnx

from upscale_onnx.model.protos import inner_graphs, iter_nodes


def has_same_form(one: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    """Whether both models have the same operators, and constants of the same shapes, in any order and with any values.

    If so, neither model is smaller or faster than the other.
    """
    return Counter(_parts(one)) == Counter(_parts(other))


def _parts(model: onnx.ModelProto) -> Iterator[Hashable]:
    """The operators and constants, those in bodies included. Initializers and Constant nodes are not told apart."""
    for graph in (model.graph, *inner_graphs(model.graph)):
        yield from ((tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer)
    for node in iter_nodes(model.graph):
        if node.op_type != "Constant" or node.domain:
            yield node.op_type, node.domain
            continue
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t.data_type, tuple(attribute.t.dims)
