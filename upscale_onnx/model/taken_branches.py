"""If nodes whose condition is known, with the branch that is taken in their place, so that shape inference follows it.

ONNX's inference merges both branches. An exporter tests the rank of a value at run time, where one branch adds an axis.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, NodeProto, helper

from upscale_onnx.model.known import Constants
from upscale_onnx.model.operators import STANDARD_DOMAINS


def take_branches(graph: GraphProto, known: Constants) -> bool:
    """Write the nodes of taken branches into `graph`. Return whether there were any. A branch with a name that `graph`
    has, too, stays where it is."""
    bodies = [_taken(node, known) for node in graph.node]
    if not any(body is not None for body in bodies):
        return False
    names = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    names |= {tensor.name for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    taken = False
    for node, body in zip(graph.node, bodies, strict=True):
        made = set() if body is None else set(_made(body))
        if body is None or made & names:
            nodes.append(node)
            continue
        taken, names = True, names | made
        nodes.extend(body.node)
        returned = zip(body.output, node.output, strict=False)
        nodes.extend(helper.make_node("Identity", [inner.name], [outer]) for inner, outer in returned if outer)
        graph.initializer.extend(body.initializer)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return taken


def _made(body: GraphProto) -> Iterator[str]:
    yield from (name for node in body.node for name in node.output)
    yield from (tensor.name for tensor in body.initializer)


def _taken(node: NodeProto, known: Constants) -> GraphProto | None:
    if node.op_type != "If" or node.domain not in STANDARD_DOMAINS or not node.input:
        return None
    condition = known.array(node.input[0])
    if condition is None or condition.size != 1:
        return None
    name = "then_branch" if condition.ravel()[0] else "else_branch"
    return next((attribute.g for attribute in node.attribute if attribute.name == name), None)
