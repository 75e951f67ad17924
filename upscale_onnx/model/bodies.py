"""Bodies of If, Loop and Scan as parts of one flat graph, in which their nodes are nodes like any other.

A node with bodies becomes an *entry*, which makes what its bodies are handed (an If has none), the nodes of its bodies,
and an *exit*. The exit reads the inputs of the node, then what the bodies return, then the carried state that they are
handed, and makes the outputs of the node. A body stays a part of its node if anything about it is unusual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from upscale_onnx.model.edit import captured_names
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.protos import attribute_graphs, inner_graphs, node_graphs

DOMAIN = "upscale_onnx.bodies"
ENTRY = "Entry"
_BRANCHES = ("then_branch", "else_branch")
_FIRST_OPSET = {"If": 1, "Loop": 1, "Scan": 9}
_LOOP_COUNTERS = 2  # the iteration number and the condition
_OLDEST_SUPPORTED = 7


@dataclass(frozen=True, eq=False)
class Opened:
    """A node whose bodies are parts of the flat graph.

    bodies: its bodies by the name of their attributes, in the order in which the exit reads what they return.
    given: how many inputs the node has. carried: how many values its body hands on from one round to the next.
    """

    node: NodeProto
    bodies: tuple[tuple[str, GraphProto], ...]
    carried: int

    @property
    def key(self) -> str:
        """The name by which the node is known: that of its first output."""
        return first_of(self.node.output)

    @property
    def given(self) -> int:
        """How many inputs the node has."""
        return len(self.node.input)

    @property
    def first_state(self) -> int:
        """The place of the first carried value among the inputs of the node."""
        return _LOOP_COUNTERS if self.node.op_type == "Loop" else 0

    def entry(self) -> NodeProto | None:
        """The node that makes what the body is handed; None for an If."""
        if self.node.op_type == "If":
            return None
        made = [value.name for value in self.bodies[0][1].input]
        entry = NodeProto(op_type=self.node.op_type + ENTRY, domain=DOMAIN, name=f"{self.node.name}:entry")
        entry.input.extend(self.node.input)
        entry.output.extend(made)
        entry.attribute.extend(self._plain())
        return entry

    def exit(self) -> NodeProto:
        """The node that makes the outputs."""
        last = NodeProto(op_type=self.node.op_type, domain=DOMAIN, name=self.node.name)
        last.input.extend(self.node.input)
        for _, body in self.bodies:
            last.input.extend(value.name for value in body.output)
        if self.carried:
            handed = [value.name for value in self.bodies[0][1].input]
            last.input.extend(handed[self.first_state :][: self.carried])
        last.output.extend(self.node.output)
        last.attribute.extend(self._plain())
        return last

    def _plain(self) -> Iterator[AttributeProto]:
        return (attribute for attribute in self.node.attribute if not attribute_graphs(attribute))


def first_of(names: Iterable[str]) -> str:
    """The first name that is not empty; empty if all are."""
    return next((name for name in names if name), "")


def opened_nodes(model: ModelProto) -> dict[str, Opened]:
    """The nodes whose bodies can be parts of the flat graph, by their keys."""
    if not any(node_graphs(node) for node in model.graph.node):
        return {}
    found: dict[str, Opened] = {}
    opset = max((entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS), default=0)
    unique = _unique_names(model.graph)
    pending = [model.graph]
    while pending:
        for node in pending.pop().node:
            opened = _opened(node, opset, unique)
            if opened is not None:
                found[opened.key] = opened
                pending.extend(body for _, body in opened.bodies)
    return found


def flat_graphs(model: ModelProto) -> tuple[GraphProto, ...]:
    """The main graph of `model`, and the bodies that are parts of the flat graph."""
    return (model.graph, *(body for known in opened_nodes(model).values() for _, body in known.bodies))


def all_nodes(model: ModelProto) -> list[NodeProto]:
    """The nodes of the flat graph of `model`, in order."""
    return list(flat_nodes(model.graph.node, opened_nodes(model)))


def flat_nodes(nodes: Iterable[NodeProto], opened: Mapping[str, Opened]) -> Iterator[NodeProto]:
    """The nodes of the flat graph, in order."""
    for node in nodes:
        known = opened.get(first_of(node.output))
        if known is None:
            yield node
            continue
        entry = known.entry()
        if entry is not None:
            yield entry
        for _, body in known.bodies:
            yield from flat_nodes(body.node, opened)
        yield known.exit()


def _unique_names(graph: GraphProto) -> frozenset[str]:
    """The names that are given to one value only, in `graph` and all its bodies."""
    counts: Counter[str] = Counter()
    for part in (graph, *inner_graphs(graph)):
        counts.update(value.name for value in part.input)
        counts.update({tensor.name for tensor in part.initializer} - {value.name for value in part.input})
        counts.update(tensor.values.name for tensor in part.sparse_initializer)
        counts.update(name for node in part.node for name in node.output)
    return frozenset(name for name, count in counts.items() if count == 1)


def _opened(node: NodeProto, opset: int, unique: frozenset[str]) -> Opened | None:
    """The node as one whose bodies are parts of the flat graph; None where they are not."""
    if node.op_type not in _FIRST_OPSET or node.domain not in STANDARD_DOMAINS:
        return None
    if opset < max(_FIRST_OPSET[node.op_type], _OLDEST_SUPPORTED) or not any(node.output):
        return None
    names = _BRANCHES if node.op_type == "If" else ("body",)
    held = {a.name: a.g for a in node.attribute if a.type == AttributeProto.GRAPH}
    others = [a for a in node.attribute if a.type != AttributeProto.GRAPH]
    if set(held) != set(names) or len(held) + len(others) != len(node.attribute) or any(a.graphs for a in others):
        return None
    bodies = tuple((name, held[name]) for name in names)
    carried = _carried(node, held, others)
    if carried is None or not all(_is_plain(body, unique) for _, body in bodies):
        return None
    return Opened(node, bodies, carried)


def _carried(node: NodeProto, held: dict[str, GraphProto], others: list[AttributeProto]) -> int | None:
    """How many values a body hands on to its next round; None where the node and its bodies disagree."""
    if node.op_type == "If":
        fits = all(len(body.output) == len(node.output) and not body.input for body in held.values())
        return 0 if fits and len(node.input) == 1 else None
    body = held["body"]
    if node.op_type == "Loop":
        carried, conditions = len(node.input) - _LOOP_COUNTERS, 1
    else:
        scanned = next((a.i for a in others if a.name == "num_scan_inputs"), 0)
        carried, conditions = len(node.input) - scanned, 0
        if scanned < 1:
            return None
    fits = len(body.input) == len(node.input) and len(body.output) == len(node.output) + conditions
    fits = fits and 0 <= carried <= len(node.output) and all(node.input[_states(node, carried)])
    return carried if fits else None


def _states(node: NodeProto, carried: int) -> slice:
    first = _LOOP_COUNTERS if node.op_type == "Loop" else 0
    return slice(first, first + carried)


def _is_plain(body: GraphProto, unique: frozenset[str]) -> bool:
    """Whether a body has nothing that the flat graph could not hold: each name is given once, values are computed
    before they are read, and what it returns is its own."""
    if body.sparse_initializer or body.quantization_annotation:
        return False
    made = {value.name for value in body.input}
    weights = {tensor.name for tensor in body.initializer}
    if made & weights or "" in made:
        return False
    made |= weights
    later = {name for node in body.node for name in node.output}
    for node in body.node:
        if ({*node.input, *captured_names([node])} - made - {""}) & later:
            return False
        made.update(node.output)
    returned = [value.name for value in body.output]
    return made - {""} <= unique and made.issuperset(returned) and "" not in returned
