"""Where the nodes of a flat graph stand: in the main graph, or in a body.

A node of the model stays in its body. A new node goes into the innermost body that holds all its readers, so that it
runs only if one of them may run: what it computes might fail or cost time in a branch that is not taken.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import onnx_graphsurgeon as gs
from onnx import GraphProto

from upscale_onnx.model.bodies import DOMAIN, ENTRY, Opened, first_of

Place = tuple[tuple[str, str], ...]
"""A body: for each body around its nodes, from the outermost on, the key of its node and its attribute. The main graph
is the empty place."""


class Nesting:
    """The places of the nodes and constants of `graph`, which is flat; its nodes are in order.

    opened: the nodes of the model whose bodies are parts of the flat graph.
    """

    def __init__(self, graph: gs.Graph, source: GraphProto, opened: Mapping[str, Opened]) -> None:
        self._opened = opened
        self._places: dict[int, Place] = {}
        self._readers: defaultdict[str, list[Place]] = defaultdict(list)
        if not opened:
            return  # all stand in the main graph
        self._left = {key for node in graph.nodes if (key := exit_key(node)) is not None}
        self._first: dict[str, Place] = dict(self._homes(source, ()))
        for node in reversed(graph.nodes):
            self._places[id(node)] = self._placed(node)
            for name, place in self._reads(node):
                self._readers[name].append(place)

    def place(self, node: gs.Node) -> Place:
        """Where a node stands."""
        return self._places.get(id(node), ())

    def reads_inside(self, place: Place, name: str) -> bool:
        """Whether all readers of a value stand inside `place`."""
        return common([place, *self._readers.get(name, ())]) == place

    def _homes(self, source: GraphProto, place: Place) -> Iterator[tuple[str, Place]]:
        """The first outputs of all nodes of the model, and where the nodes stand. Where the exit of a node is gone, its
        bodies are gone: what is left of them stands where the node stood."""
        for node in source.node:
            first = first_of(node.output)
            yield first, place
            for name, body in self._opened[first].bodies if first in self._opened else ():
                yield from self._homes(body, (*place, (first, name)) if first in self._left else place)

    def _placed(self, node: gs.Node) -> Place:
        names = [value.name for value in node.outputs if value.name]
        homes = [self._first[name] for name in names[:1] if name in self._first]
        # A node that stands for two equal ones may be read in other places than its own.
        places = [*homes, *(place for name in names for place in self._readers.get(name, ()))]
        return common(places) if places else ()

    def _reads(self, node: gs.Node) -> Iterator[tuple[str, Place]]:
        """The values that a node reads, and where."""
        if is_entry(node):
            return  # the exit reads the same values
        place, key = self._places[id(node)], exit_key(node)
        names = [value.name for value in node.inputs]
        for subgraph in node.subgraphs(recursive=True):
            names += [value.name for inner in subgraph.nodes for value in inner.inputs]
        places = [place] * len(names)
        if key is not None:
            places = [*places[: self._opened[key].given], *self._returned(key, place)]
        yield from ((name, where) for name, where in zip(names, places, strict=True) if name)

    def _returned(self, key: str, place: Place) -> Iterator[Place]:
        """The places of the inputs of an exit behind those of its node."""
        known = self._opened[key]
        for name, body in known.bodies:
            yield from [(*place, (key, name))] * len(body.output)
        yield from [(*place, (key, known.bodies[0][0]))] * known.carried


def is_entry(node: gs.Node) -> bool:
    """Whether a node is the entry of a body."""
    return bool(node.domain == DOMAIN and node.op.endswith(ENTRY))


def exit_key(node: gs.Node) -> str | None:
    """The key of the node for which an exit stands; None for other nodes."""
    if node.domain != DOMAIN or is_entry(node):
        return None
    return first_of(value.name for value in node.outputs)


def common(places: Sequence[Place]) -> Place:
    """The innermost place around all of these."""
    shared = itertools.takewhile(lambda steps: len(set(steps)) == 1, zip(*places, strict=False))
    return tuple(steps[0] for steps in shared)
