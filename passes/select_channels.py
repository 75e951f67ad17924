"""Put selections in front of consumers, so that each reads only the channels decided for it.

A selection is made as early as possible: from the source of another selection, in front of the elementwise
operators that only this consumer reads, and on the parts of a Concat that only this consumer reads (a part
that is not read is not concatenated). In front of a DequantizeLinear it is made even if others read the result: the
consumer then reads a copy of the node.
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Misaligned, Request, Resize
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.selection import selection_node
from upscale_onnx.channels.step import Step
from upscale_onnx.model import Shape, sort_nodes
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, Rows, constant, remade
from upscale_onnx.passes.remove_channels import apply_resize
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.plan.places import Places, joins, source
from upscale_onnx.plan.selection import Demand
from upscale_onnx.types import IntArray


@dataclass(frozen=True)
class SelectChannels(Pass):
    """Inserts a Slice or Gather for each demand that `decide` returns; demands for the same positions share one."""

    decide: Callable[[Rewrite], Sequence[Demand]]
    purpose: ClassVar = "consumers read selections of the channels that they demand"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        selected, graph, analysis = self.decide(rewrite), rewrite.graph, rewrite.analysis
        if not selected:
            return Changes()
        shapes = ChainMap[str, Shape]({}, dict(rewrite.shapes))
        work = _Insertion(analysis, shapes, Names(graph), Places(analysis, _count_readers(graph)))
        count = 0
        for item in selected:
            step = analysis.steps[item.step]
            try:
                resize = work.resize(step, item.input, item.axis, item.positions)
            except (Misaligned, Refused):
                continue  # the node reads the value as it is: it has no form for this selection, or takes whole blocks
            tensor = work.narrowed(step.node.inputs[item.input].name, item.axis, item.positions, step.node)
            apply_resize(step.node, resize, work.names)
            step.node.inputs[item.input] = tensor
            count += 1
        graph.nodes = [new for node in graph.nodes for new in (*work.before.get(id(node), ()), node)]
        # A selection is placed in front of the consumer handled first; another consumer of it may come earlier.
        sort_nodes(graph)
        handed = {analysis.steps[item.step].outputs[0]: item.positions for item in selected}
        return Changes(count, shapes.maps[0], narrowed=work.cut, handed=handed)


@dataclass
class _Insertion:
    analysis: Analysis
    shapes: MutableMapping[str, Shape]
    names: Names
    places: Places
    cut: dict[str, tuple[int, int, IntArray]] = field(default_factory=dict)
    before: dict[int, list[gs.Node]] = field(default_factory=dict)
    made: dict[tuple[str, int, bytes], gs.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.producers = {name: step for step in self.analysis.steps for name in step.outputs}

    def narrowed(self, name: str, axis: int, positions: IntArray, user: gs.Node, shared: bool = False) -> gs.Tensor:
        """A tensor that holds `positions` of the value `name`. Nodes that compute it go in front of `user`.

        shared: whether the value has further readers that the count of its readers does not include.
        """
        step = self.producers.get(name)
        size = self._size(name, axis)
        if positions.size == size and np.array_equal(positions, np.arange(size)):
            return self.names.tensors[name]
        pick = None if step is None else self._bypassed(step, name, axis)
        if step is not None and pick is not None:
            return self.narrowed(step.inputs[0], axis, pick[positions], user, shared=True)
        alone = not shared and self.places.alone(name)
        if step is not None and self.places.way(name, axis, shared):
            if alone:
                return self._through(step, name, axis, positions)
            return self._copied(step, name, axis, positions, user)
        if step is not None and alone and joins(step, axis):
            return self._parts(step, name, axis, positions)
        return self._picked(name, axis, positions, user)

    def resize(self, step: Step, index: int, axis: int, positions: IntArray) -> Resize:
        """How the weights of `step` narrow for an input that holds only `positions`. Raises `Refused`."""
        maps = list(step.maps)
        found = self.analysis.maps[step.inputs[index]]
        dims = step.op.in_dims[index]
        known = None if dims is None else dims[axis]
        size = known if isinstance(known, int) else _channels_read(step, index, found, axis)
        shape = [size if a == axis else 1 for a in range(found.rank)]
        state = np.broadcast_to(found.state, shape).copy()
        maps[index] = ChannelMap(full_emission(shape), state)
        given = [None if m is None else full_emission(m.shape) for m in maps]
        given[index] = positions.reshape([-1 if a == axis else 1 for a in range(found.rank)])
        outputs = step.flow.outputs
        if step.flow.outputs[0] is not None and not step.flow.creates:
            outputs = (maps[index], *step.flow.outputs[1:])
        return step.rule.resize(step.op, Request(tuple(maps), tuple(given), outputs, Rows()))

    def _bypassed(self, step: Step, name: str, axis: int) -> IntArray | None:
        """The indices that `step` picks, if it is a selection along `axis`; else None."""
        if step.flow.picks is None or step.maps[0] is None or step.maps[0].axes != (axis,):
            return None
        return step.flow.picks[step.outputs.index(name)]

    def _through(self, step: Step, name: str, axis: int, positions: IntArray) -> gs.Tensor:
        index = step.inputs.index(source(step))
        narrowed = self.narrowed(step.inputs[index], axis, positions, step.node)
        apply_resize(step.node, self.resize(step, index, axis, positions), self.names)
        step.node.inputs[index] = narrowed
        self._resized(name, axis, positions)
        return step.node.outputs[0]

    def _copied(self, step: Step, name: str, axis: int, positions: IntArray, user: gs.Node) -> gs.Tensor:
        """The result of a copy of `step`, which others read too, that computes only `positions`."""
        key = (name, axis, positions.tobytes())
        if key not in self.made:
            narrowed = self.narrowed(source(step), axis, positions, user, shared=True)
            new = self.names.fresh(f"{name}_selected")
            self.shapes[new] = self.shapes[name].with_size(axis, positions.size)
            old = step.node
            self.made[key] = gs.Variable(new, dtype=old.outputs[0].dtype)
            node = gs.Node(old.op, new, dict(old.attrs), list(old.inputs), [self.made[key]], old.domain)
            index = step.inputs.index(source(step))
            apply_resize(node, self.resize(step, index, axis, positions), self.names)
            node.inputs[index] = narrowed
            self.before.setdefault(id(user), []).append(node)
        return self.made[key]

    def _parts(self, step: Step, name: str, axis: int, positions: IntArray) -> gs.Tensor:
        """The Concat of the narrowed parts of a Concat. Parts that are not read are left out."""
        inputs, offset = [], 0
        for tensor in list(step.node.inputs):
            size = self._size(tensor.name, axis)
            local = positions[(positions >= offset) & (positions < offset + size)] - offset
            if local.size:
                inputs.append(self._part(tensor, axis, local, step.node))
            offset += size
        if len(inputs) == 1:
            return inputs[0]
        step.node.inputs = inputs
        self._resized(name, axis, positions)
        return step.node.outputs[0]

    def _part(self, tensor: gs.Tensor, axis: int, positions: IntArray, user: gs.Node) -> gs.Tensor:
        array = self.analysis.constants.array(tensor.name) if tensor.name in self.analysis.constants else None
        if array is not None:
            return remade(self.names, tensor, array.take(positions, axis))
        return self.narrowed(tensor.name, axis, positions, user)

    def _picked(self, name: str, axis: int, positions: IntArray, user: gs.Node) -> gs.Tensor:
        key = (name, axis, positions.tobytes())
        if key not in self.made:
            new = self.names.fresh(f"{name}_selected")
            self.shapes[new] = self.shapes[name].with_size(axis, positions.size)
            whole = self.names.tensors[name]
            self.made[key] = gs.Variable(new, dtype=whole.dtype)
            pick = selection_node(positions, self._size(name, axis), axis, 0, self.analysis.opset)
            indices = [item for item in pick.inputs if isinstance(item, np.ndarray)]
            picked = [constant(self.names, f"{new}_indices", item) for item in indices]
            node = gs.Node(pick.op_type, new, dict(pick.attrs), [whole, *picked], [self.made[key]])
            self.before.setdefault(id(user), []).append(node)
        return self.made[key]

    def _resized(self, name: str, axis: int, positions: IntArray) -> None:
        self.cut[name] = (axis, self._size(name, axis), positions)
        self.shapes[name] = self.shapes[name].with_size(axis, positions.size)
        self.names.tensors[name].shape = None

    def _size(self, name: str, axis: int) -> int:
        """The size along the axis, 0 where it is not known."""
        if name in self.analysis.constants:
            array = self.analysis.constants.array(name)
            return 0 if array is None else int(array.shape[axis])
        size = self.shapes[name].dims[axis]
        if isinstance(size, int):
            return size
        channels = self.analysis.maps[name].shape[axis]
        return channels if channels > 1 else 0


def _channels_read(step: Step, index: int, found: ChannelMap, axis: int) -> int:
    """The number of channels that a node reads along an axis of unknown size, as its weights have it."""
    sizes = (item.sources.size for item in step.flow.reads if (item.input, item.axis) == (index, axis))
    return next(sizes, found.shape[axis])


def _count_readers(graph: gs.Graph) -> Counter[str]:
    """How often each value is read; what a subgraph reads counts twice, so that it never has one reader alone."""
    inner = [node for subgraph in graph.subgraphs(recursive=True) for node in subgraph.nodes]
    return Counter(tensor.name for node in (*graph.nodes, *inner, *inner) for tensor in node.inputs)
