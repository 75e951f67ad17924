"""Regions: the nodes between the values at which two models are cut."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from onnx import ModelProto, NodeProto, TypeProto, ValueInfoProto, helper

from upscale_onnx.model import captured_names
from upscale_onnx.model.operators import NEVER_NEGATIVE
from upscale_onnx.model.protos import copy_fields, stored_bytes

# A value at which a model is cut is an input under its own name. As the output of its region, it has this suffix.
_COMPUTED = ":computed"
# Operators whose results are mostly not negative where something divides by them, and what stands between the two.
_NOT_NEGATIVE = NEVER_NEGATIVE | {"Clip", "Max", "Mul", "Pow"}
_BEHIND = frozenset(
    "Add Cast Expand Identity ReduceMean ReduceSum Reshape Sqrt Squeeze Transpose Unsqueeze".split()  # noqa: SIM905
)


class Network:
    """The main graph of a model, with the node that makes each value and the values that each node reads."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.model = model
        self.nodes: tuple[NodeProto, ...] = tuple(graph.node)
        self.maker = {name: number for number, node in enumerate(self.nodes) for name in node.output if name}
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.sparse = {tensor.values.name: tensor for tensor in graph.sparse_initializer}
        constant = self.weights.keys() | self.sparse.keys()
        self.inputs = {value.name: value for value in graph.input if value.name not in constant}
        self.outputs = tuple(dict.fromkeys(value.name for value in graph.output))

    @cached_property
    def reads(self) -> tuple[tuple[str, ...], ...]:
        """Per node, the values that it and its subgraphs read."""
        return tuple(
            tuple(dict.fromkeys([*(name for name in node.input if name), *sorted(captured_names([node]))]))
            for node in self.nodes
        )

    @cached_property
    def divisors(self) -> frozenset[str]:
        """What a Div divides by, and what that is computed from, back to norms, squares or a bound. Drawn by
        themselves, they would be negative, or zero where an epsilon is added."""
        found = set[str]()
        for node in self.nodes:
            path = list(self._path(node.input[1])) if node.op_type == "Div" else []
            if path and self.nodes[self.maker[path[-1]]].op_type in _NOT_NEGATIVE:
                found.update(path)
        return frozenset(found)

    def _path(self, name: str) -> Iterator[str]:
        """A computed value, and what it is a root, a sum or a copy of."""
        while name in self.maker:
            yield name
            maker = self.nodes[self.maker[name]]
            computed = [given for given in maker.input if given in self.maker and not self._is_constant(given)]
            name = computed[0] if computed and maker.op_type in _BEHIND else ""

    def _is_constant(self, name: str) -> bool:
        return self.nodes[self.maker[name]].op_type == "Constant"

    def region(self, target: str, cuts: Collection[str]) -> tuple[frozenset[int], frozenset[str]]:
        """The nodes that compute `target` from values in `cuts` and graph inputs, and the names of those they read."""
        if target not in self.maker:
            return frozenset(), frozenset({target} & self.inputs.keys())
        found, sources, pending = set[int](), set[str](), [self.maker[target]]
        while pending:
            number = pending.pop()
            if number in found:
                continue
            found.add(number)
            for name in self.reads[number]:
                if name in cuts or name in self.inputs:
                    sources.add(name)
                elif name in self.maker:
                    pending.append(self.maker[name])
        return frozenset(found), frozenset(sources)

    def weight_bytes(self, nodes: Iterable[int]) -> int:
        """The bytes of the weights that these nodes read."""
        names = {name for number in nodes for name in self.reads[number]}
        return sum(stored_bytes(self.weights[name]) for name in names & self.weights.keys())


@dataclass(frozen=True)
class Region:
    """The nodes that compute `target` in the original and in the compiled model, and the values that both read.

    on_corner: whether it is run on a corner of each image that it reads.
    """

    target: str
    original: frozenset[int]
    compiled: frozenset[int]
    sources: frozenset[str]
    on_corner: bool = False


def cut_regions(original: Network, compiled: Network, cuts: set[str]) -> list[Region]:
    """The region of every value in `cuts` and of every graph output, in graph order.

    The compiled region may read only values that the original's region reads, too. Otherwise one of them looks past a
    value at which the other is cut. Then the last value that only one of them reads is removed from `cuts`.
    """
    while True:
        found, past = list[Region](), set[str]()
        targets = sorted(cuts, key=lambda name: original.maker[name])
        for target in dict.fromkeys([*targets, *original.outputs]):
            first, given = original.region(target, cuts)
            second, read = compiled.region(target, cuts)
            found.append(Region(target, first, second, given))
            differ = (given ^ read) & cuts
            if differ and not read <= given:
                past.add(max(differ, key=lambda name: original.maker[name]))
        if not past:
            return found
        cuts -= past


def cut_model(
    network: Network, nodes: Collection[int], targets: Collection[str], cuts: Mapping[str, TypeProto]
) -> ModelProto:
    """A model of `nodes` alone. Its inputs are the values in `cuts` (with their types) and the graph inputs that the
    nodes read; its outputs are `targets`, in their order."""
    model = ModelProto()
    copy_fields(network.model, model, skip=("graph", "training_info", "metadata_props", "doc_string"))
    graph = model.graph
    graph.name = "region"
    for number in sorted(nodes):
        node = graph.node.add()
        node.CopyFrom(network.nodes[number])
        node.output[:] = [name + _COMPUTED if name in cuts else name for name in node.output]
    read = {name for number in nodes for name in network.reads[number]}
    for name in targets:
        if name not in network.maker:  # an output of the graph may be one of its inputs, or a weight
            graph.node.append(helper.make_node("Identity", [name], [name + _COMPUTED]))
            read.add(name)
    graph.initializer.extend(network.weights[name] for name in sorted(read & network.weights.keys()))
    graph.sparse_initializer.extend(network.sparse[name] for name in sorted(read & network.sparse.keys()))
    graph.input.extend(network.inputs[name] for name in sorted(read & network.inputs.keys()))
    graph.input.extend(ValueInfoProto(name=name, type=cuts[name]) for name in sorted(read & cuts.keys()))
    computed = (name + _COMPUTED if name in cuts or name not in network.maker else name for name in targets)
    graph.output.extend(ValueInfoProto(name=name) for name in computed)
    return model
