"""Edits that every rewrite needs, in linear time: change an input, remove unread nodes, sort.

The edits of graphsurgeon are slower, since they compare all contents of nodes. Its sort recurses once per layer.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto

from upscale_onnx.errors import InternalError
from upscale_onnx.model.protos import copy_fields, node_graphs


def cleanup(graph: gs.Graph) -> int:
    """Remove the nodes that no graph output depends on, and return how many there were.

    What a subgraph captures counts as read by the node that holds the subgraph.
    """
    removed = unread_nodes(graph)
    if removed:
        _detach(removed)
        gone = {id(node) for node in removed}
        graph.nodes = [node for node in graph.nodes if id(node) not in gone]
    return len(removed)


def unread_nodes(graph: gs.Graph) -> list[gs.Node]:
    """The nodes that no graph output depends on."""
    producers = {value.name: node for node in graph.nodes for value in node.outputs if value.name}
    pending = [value.name for value in graph.outputs]
    alive: set[int] = set()
    while pending:
        node = producers.get(pending.pop())
        if node is not None and id(node) not in alive:
            alive.add(id(node))
            pending.extend(reads(node))
    return [node for node in graph.nodes if id(node) not in alive]


def set_input(node: gs.Node, index: int, value: gs.Variable | gs.Constant) -> None:
    """Make `node` read `value` at `index`.

    This does what `node.inputs[index] = value` does, but faster: it finds `node` among the readers by identity.
    """
    readers = node.inputs[index].outputs
    list.__delitem__(readers, list(map(id, readers)).index(id(node)))
    list.__setitem__(node.inputs, index, value)
    list.append(value.outputs, node)


def sort_nodes(graph: gs.Graph) -> None:
    """Put every node behind the producers of what it reads. The order changes as little as possible.

    Raises:
        InternalError: the graph has a cycle.
    """
    made = [[value.name for value in node.outputs] for node in graph.nodes]
    order = _sorted(made, [reads(node) for node in graph.nodes])
    if order is None:
        raise InternalError(f"graph '{graph.name}' has a cycle")
    graph.nodes = [graph.nodes[index] for index in order]


def sorted_model(model: ModelProto) -> ModelProto:
    """A copy of `model` in which every node of the main graph stands behind the producers of what it reads.

    `model` itself if this is so already, or if the graph has a cycle. onnxruntime accepts any order.
    """
    nodes = model.graph.node
    order = _sorted([list(node.output) for node in nodes], [[*node.input, *captured_names([node])] for node in nodes])
    if order is None or order == list(range(len(nodes))):
        return model
    result = ModelProto()
    copy_fields(model, result, skip=("graph",))
    copy_fields(model.graph, result.graph, skip=("node",))
    result.graph.node.extend(nodes[index] for index in order)
    return result


def _sorted(made: Sequence[Sequence[str]], reads: Sequence[Sequence[str]]) -> list[int] | None:
    """The order nearest to the present one in which each node stands behind its producers; None if there is a cycle.

    made, reads: the names that each node makes and reads.
    """
    producers = {name: index for index, names in enumerate(made) for name in names if name}
    readers: list[list[int]] = [[] for _ in made]
    waits = [0] * len(made)
    for index, names in enumerate(reads):
        for producer in {producers[name] for name in names if name in producers}:
            readers[producer].append(index)
            waits[index] += 1
    ready = [index for index, count in enumerate(waits) if not count]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            waits[reader] -= 1
            if not waits[reader]:
                heapq.heappush(ready, reader)
    return order if len(order) == len(made) else None


def captured_names(nodes: Iterable[NodeProto]) -> set[str]:
    """The names that subgraphs of these nodes read from outside themselves."""
    names: set[str] = set()
    for node in nodes:
        for subgraph in node_graphs(node):
            names |= free_names(subgraph)
    return names


def free_names(graph: GraphProto) -> set[str]:
    """The names that a subgraph reads from outside. A value inside hides a value outside with the same name."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    read |= captured_names(graph.node)
    own = {value.name for value in graph.input} | {name for node in graph.node for name in node.output}
    own |= {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    return read - own - {""}


def reads(node: gs.Node) -> list[str]:
    """The names that a node reads, those that its subgraphs capture included."""
    names = [value.name for value in node.inputs if value.name]
    for subgraph in subgraphs([node]):
        names.extend(value.name for inner in subgraph.nodes for value in inner.inputs)
        names.extend(value.name for value in subgraph.outputs)
    return names


def _detach(nodes: list[gs.Node]) -> None:
    # The lists of readers are filtered by identity, once per value. Removal through graphsurgeon's synchronised lists
    # would search all readers of a value for every node, and compare nodes field by field.
    gone = {id(inner) for node in nodes for inner in (node, *_inner_nodes(node))}
    values = {id(value): value for node in nodes for value in (*node.inputs, *node.outputs)}
    values.update({id(v): v for node in nodes for inner in _inner_nodes(node) for v in inner.inputs})
    for value in values.values():
        for links in (value.inputs, value.outputs):
            list.__setitem__(links, slice(None), [node for node in links if id(node) not in gone])
    for node in nodes:
        list.clear(node.inputs)
        list.clear(node.outputs)


def _inner_nodes(node: gs.Node) -> list[gs.Node]:
    return [inner for subgraph in subgraphs([node]) for inner in subgraph.nodes]


def subgraphs(nodes: Iterable[gs.Node]) -> list[gs.Graph]:
    """All subgraphs that `nodes` hold. Nearly no node holds one, and graphsurgeon's own search takes long to say so."""
    holders = [node for node in nodes if any(isinstance(value, gs.Graph) for value in node.attrs.values())]
    return [subgraph for node in holders for subgraph in node.subgraphs(recursive=True)]
