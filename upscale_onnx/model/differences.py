"""Compare two models node by node: which nodes are in one of them only, and which make another number of channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from upscale_onnx.model.protos import element_count, inner_graphs, iter_nodes
from upscale_onnx.model.shapes import infer_shapes
from upscale_onnx.results.differences import Differences, NodeChange, Sizes


@dataclass(frozen=True)
class _Node:
    op_type: str
    sizes: Sizes | None
    parameters: int


def differences(first: onnx.ModelProto, second: onnx.ModelProto) -> Differences:
    """How `second` differs from `first`, bodies included. Nodes are the same if they have one name.

    A node without a name goes by that of its first result. The changes are in the order of `first`, then what `second`
    adds.
    """
    before, after = _nodes(first), _nodes(second)
    changes = []
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old and new and _is_alike(old, new):
            continue
        known = old or new
        assert known is not None
        changes.append(
            NodeChange(
                name,
                known.op_type if old is None or new is None or old.op_type == new.op_type
                else f"{old.op_type} > {new.op_type}",
                "changed" if old and new else "removed" if old else "added",
                old.sizes if old else None,
                new.sizes if new else None,
                old.parameters if old else 0,
                new.parameters if new else 0,
            )
        )  # fmt: skip
    return Differences(tuple(changes), len({**before, **after}) - len(changes))


def _is_alike(old: _Node, new: _Node) -> bool:
    """Whether both are one operator with as many parameters, and make the same sizes, as far as these are numbers."""
    if (old.op_type, old.parameters) != (new.op_type, new.parameters):
        return False
    if old.sizes is None or new.sizes is None or len(old.sizes) != len(new.sizes):
        return old.sizes == new.sizes
    pairs = zip(old.sizes, new.sizes, strict=True)
    return all(a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in pairs)


def _nodes(model: onnx.ModelProto) -> Mapping[str, _Node]:
    shapes = infer_shapes(model)
    graphs = (model.graph, *inner_graphs(model.graph))
    counts = {tensor.name: element_count(tensor.dims) for graph in graphs for tensor in graph.initializer}
    found: dict[str, _Node] = {}
    for node in iter_nodes(model.graph):
        made = shapes.get(node.output[0]) if node.output else None
        name = node.name or (node.output[0] if node.output else "")
        parameters = sum(counts.get(given, 0) for given in node.input)
        found.setdefault(name, _Node(node.op_type, None if made is None else made.dims, parameters))
    return found
