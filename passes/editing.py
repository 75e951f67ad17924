"""Small edits that passes share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs

from upscale_onnx.model import set_input
from upscale_onnx.model.constants import MadeConstant, origin_of
from upscale_onnx.model.edit import subgraphs
from upscale_onnx.types import Array, BoolArray, IntArray


class Names:
    """The names of a graph's tensors, and new names that differ from all of them.

    pinned: values that must keep their name, since graph outputs or subgraphs refer to it.
    """

    def __init__(self, graph: gs.Graph) -> None:
        self.tensors: dict[str, gs.Tensor] = graph.tensors()
        self.pinned = pinned_names(graph)
        self._taken = set(self.tensors) | {tensor.name for tensor in (*graph.inputs, *graph.outputs)}
        for inner in subgraphs(graph.nodes):
            self._taken |= set(inner.tensors())
        self._shared: dict[str, gs.Constant] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def fresh(self, base: str) -> str:
        """A new name: `base`, or `base` with the first free number appended."""
        name, number = base, 1
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        return name

    def reserve(self, names: Iterable[str]) -> None:
        """Exclude `names` from new names."""
        self._taken.update(names)

    def release(self, names: Iterable[str]) -> None:
        """Allow `names` as new names again."""
        self._taken.difference_update(names)

    def shared(self, name: str, values: Array) -> gs.Constant:
        """The constant that holds the `values` of the computed tensor `name`; made at the first call."""
        if name not in self._shared:
            self._shared[name] = constant(self, f"{name}_value", values)
        return self._shared[name]


class Rows:
    """The chooser of passes that work without a plan: it emits `rows` of what a node creates, or all for None."""

    def __init__(self, rows: IntArray | None = None) -> None:
        self._rows = rows

    def positions(self, labels: IntArray) -> IntArray:
        """The rows to emit."""
        return np.arange(labels.size) if self._rows is None else self._rows

    def free(self, labels: IntArray) -> bool:
        """False: no order is free."""
        return False

    def live(self, labels: IntArray) -> BoolArray:
        """True for every class: all count as demanded."""
        return np.ones(labels.shape, bool)


def constant(names: Names, base: str, values: npt.NDArray[np.generic]) -> gs.Constant:
    """A new initializer named after `base`."""
    return MadeConstant(names.fresh(base), np.asarray(values, order="C"))


def remade(names: Names, old: gs.Tensor, values: npt.NDArray[np.generic]) -> gs.Constant:
    """A new initializer that takes the place of the constant `old` for one use."""
    return MadeConstant(names.fresh(old.name), np.asarray(values, order="C"), origin_of(old))


def pinned_names(graph: gs.Graph) -> frozenset[str]:
    """The names to which graph outputs and subgraphs refer."""
    names = {tensor.name for tensor in graph.outputs}
    for inner in subgraphs(graph.nodes):
        names.update(tensor.name for node in inner.nodes for tensor in node.inputs)
        names.update(tensor.name for tensor in inner.outputs)
    return frozenset(names)


def disconnect(node: gs.Node) -> None:
    """Let `node` read nothing and make nothing any more."""
    node.inputs.clear()
    node.outputs.clear()


def replace_nodes(graph: gs.Graph, instead: Mapping[int, Sequence[gs.Node]]) -> None:
    """Put nodes in place of others: `instead` holds them by the id of the node that goes."""
    graph.nodes = [new for node in graph.nodes for new in instead.get(id(node), (node,))]


def replace_uses(old: gs.Tensor, new: gs.Tensor) -> None:
    """Make every reader of `old` read `new`."""
    for reader in {id(node): node for node in old.outputs}.values():
        for index, tensor in enumerate(reader.inputs):
            if tensor is old:
                set_input(reader, index, new)
