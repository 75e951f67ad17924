"""Names that stand for one value or node each. Branches of an If often use the same names, and a body may hide outer
values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from onnx import GraphProto, ModelProto, NodeProto

from upscale_onnx.model.edit import captured_names
from upscale_onnx.model.protos import inner_graphs, iter_nodes, node_graphs


def with_unique_names(model: ModelProto) -> ModelProto:
    """`model` with other names for values and nodes in bodies whose names stand for several. It is `model` itself where
    there are none, and where a body reads a name before it gives it."""
    bodies = list(inner_graphs(model.graph))
    if not bodies:
        return model
    given = [name for graph in (model.graph, *bodies) for name in _given(graph)]
    nodes = [node.name for node in iter_nodes(model.graph) if node.name]
    if all(len(names) == len(set(names)) for names in (given, nodes)) or not all(map(_is_ordered, bodies)):
        return model
    result = ModelProto()
    result.CopyFrom(model)
    _Renaming(_Names(set(given) | _read(result.graph)), _Names(set(nodes))).rename(result.graph)
    return result


class _Names:
    """Gives names that are not `known`, or that nothing has got yet."""

    def __init__(self, known: set[str]) -> None:
        self._known, self._used = known, set[str]()

    def keep(self, names: Iterable[str]) -> None:
        """Take note of names that stay."""
        self._used.update(names)

    def fresh(self, name: str) -> str:
        """`name` if nothing has it yet, else a new name."""
        found, number = name, 1
        while found in self._used or (found != name and found in self._known):
            found, number = f"{name}_{number}", number + 1
        self._used.add(found)
        return found


class _Renaming:
    """Gives each value and each node a name of its own."""

    def __init__(self, values: _Names, nodes: _Names) -> None:
        self._values, self._named = values, nodes

    def rename(self, graph: GraphProto) -> None:
        """Rename the values and nodes in the bodies of `graph`."""
        self._values.keep(_given(graph))
        self._named.keep(node.name for node in graph.node)
        self._nodes(graph, {})

    def _nodes(self, graph: GraphProto, names: Mapping[str, str]) -> None:
        for node in graph.node:
            for body in node_graphs(node):
                self._body(body, names)

    def _body(self, body: GraphProto, outer: Mapping[str, str]) -> None:
        names = {**outer, **{name: self._values.fresh(name) for name in dict.fromkeys(_given(body))}}
        for value in (*body.input, *body.output, *body.value_info):
            value.name = names.get(value.name, value.name)
        for tensor in (*body.initializer, *(sparse.values for sparse in body.sparse_initializer)):
            tensor.name = names.get(tensor.name, tensor.name)
        for note in body.quantization_annotation:
            note.tensor_name = names.get(note.tensor_name, note.tensor_name)
            for entry in note.quant_parameter_tensor_names:
                entry.value = names.get(entry.value, entry.value)
        for node in body.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
            if node.name:
                node.name = self._named.fresh(node.name)
        self._nodes(body, names)


def _given(graph: GraphProto) -> Iterator[str]:
    """The names that `graph` itself gives to values."""
    inputs = {value.name: None for value in graph.input}
    weights = {tensor.name: None for tensor in graph.initializer}
    weights.update((sparse.values.name, None) for sparse in graph.sparse_initializer)
    yield from {**inputs, **weights}
    yield from (name for node in graph.node for name in node.output if name)


def _read(graph: GraphProto) -> set[str]:
    return {name for part in (graph, *inner_graphs(graph)) for node in part.node for name in node.input}


def _is_ordered(body: GraphProto) -> bool:
    """Whether each value is computed before it is read, so that a name never means an outer value first."""
    later = {name for node in body.node for name in node.output if name}
    for node in body.node:
        if later & _reads(node):
            return False
        later -= set(node.output)
    return True


def _reads(node: NodeProto) -> set[str]:
    return {*node.input, *captured_names([node])}
