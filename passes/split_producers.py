"""Compute values in pieces: producers are cut by rows, and consumers read the pieces that they need.

Operators that work within each channel run once per piece. A consumer becomes a sum of one node per piece, or reads a
Concat of its pieces. All other readers of the value read a Concat of all pieces, put back into the original order.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.channel_map import VARYING, ChannelMap
from upscale_onnx.channels.flow import Request
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.step import Step
from upscale_onnx.model import Shape, sort_nodes
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, Rows, constant, disconnect, replace_nodes, replace_uses
from upscale_onnx.passes.remove_channels import apply_resize
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.plan.splitting import PieceRead, ValueSplit, part_name
from upscale_onnx.types import IntArray


@dataclass(frozen=True)
class SplitProducers(Pass):
    """Splits the groups of values that `decide` returns. These must share no step."""

    decide: Callable[[Rewrite], Sequence[ValueSplit]]
    purpose: ClassVar = "values are computed in pieces, so that consumers read the pieces that they need"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        chosen, graph = self.decide(rewrite), rewrite.graph
        if not chosen:
            return Changes()
        names, shapes = Names(graph), ChainMap[str, Shape]({}, dict(rewrite.shapes))
        instead: dict[int, list[gs.Node]] = {}
        for split in chosen:
            _Cut(rewrite.analysis, shapes, names, split, instead).apply()
        replace_nodes(graph, instead)
        # A Concat is placed in front of the reader handled first; another reader of it may come earlier.
        sort_nodes(graph)
        return Changes(len(chosen), shapes.maps[0])


@dataclass
class _Cut:
    """The splitting of one group. instead: by a node's id, the nodes that take its place."""

    analysis: Analysis
    shapes: MutableMapping[str, Shape]
    names: Names
    split: ValueSplit
    instead: dict[int, list[gs.Node]]
    made: dict[tuple[str, int], gs.Variable] = field(default_factory=dict)
    joined: dict[tuple[str, tuple[int, ...]], gs.Variable] = field(default_factory=dict)

    def apply(self) -> None:
        """Replace each step of the group by one per piece, and make the readers read these."""
        steps = [self.analysis.steps[number] for number in self.split.steps]
        for step in steps:
            pieces = range(len(self.split.pieces))
            self.instead[id(step.node)] = [self._piece(step, index) for index in pieces]
        for read in self.split.reads:
            step = self.analysis.steps[read.item.step]
            self.instead[id(step.node)] = self._summed(step, read) if read.summed else self._joined(step, read)
        for step in steps:
            whole = step.node.outputs[0]
            disconnect(step.node)
            self.instead[id(step.node)] += self._restored(whole)

    def _piece(self, step: Step, index: int) -> gs.Node:
        """The node that computes one piece of the result of `step`."""
        positions, target = self.split.pieces[index], step.node.outputs[0]
        inputs, given = list(step.node.inputs), []
        for slot, (name, found) in enumerate(zip(step.inputs, step.maps, strict=True)):
            part = self.made.get((name, index))
            given.append(None if found is None else full_emission(found.shape))
            if part is not None and found is not None:
                inputs[slot], given[slot] = part, _along(found, positions)
        out = self._variable(f"{target.name}_piece{index}", target, positions.size)
        self.made[target.name, index] = out
        node = _clone(step.node, f"{step.op.name}_piece{index}", inputs, out)
        request = Request(step.maps, tuple(given), step.flow.outputs, Rows(positions))
        apply_resize(node, step.rule.resize(step.op, request), self.names)
        return node

    def _summed(self, step: Step, read: PieceRead) -> list[gs.Node]:
        """One node per piece that the consumer reads, and the nodes that add up the results."""
        target, inputs = step.node.outputs[0], list(step.node.inputs)
        disconnect(step.node)
        nodes: list[gs.Node] = []
        total: gs.Variable | None = None
        for index in read.pieces:
            inputs[read.item.input] = self.made[step.inputs[read.item.input], index]
            out = target if len(read.pieces) == 1 else self._variable(f"{target.name}_part{index}", target)
            name = step.node.name if len(read.pieces) == 1 else part_name(step.op.name, index)
            node = _clone(step.node, name, inputs, out)
            self._shrink(step, node, read, (index,), total is None)
            nodes.append(node)
            if total is not None:
                added = target if index == read.pieces[-1] else self._variable(f"{target.name}_sum{index}", target)
                nodes.append(_named("Add", {}, [total, out], added))
                out = added
            total = out
        return nodes

    def _joined(self, step: Step, read: PieceRead) -> list[gs.Node]:
        """The Concat of the consumer's pieces, where it is new, and the consumer that reads it."""
        name = step.inputs[read.item.input]
        made, joined = self._concat(name, read.pieces)
        step.node.inputs[read.item.input] = joined
        self._shrink(step, step.node, read, read.pieces, True)
        return [*made, step.node]

    def _restored(self, whole: gs.Variable) -> list[gs.Node]:
        """Nodes that restore the whole value from its pieces, in the original order, for readers of all channels."""
        if not whole.outputs:
            return []
        made, joined = self._concat(whole.name, tuple(range(len(self.split.pieces))))
        order = np.argsort(np.concatenate(self.split.pieces))
        restored = self._variable(f"{whole.name}_restored", whole)
        index = constant(self.names, f"{whole.name}_order", order.astype(np.int64))
        replace_uses(whole, restored)
        return [*made, _named("Gather", {"axis": self._axis(whole.name)}, [joined, index], restored)]

    def _concat(self, name: str, pieces: tuple[int, ...]) -> tuple[list[gs.Node], gs.Variable]:
        """The Concat of some pieces of a value, and its nodes (none where the Concat already exists)."""
        found = self.joined.get((name, pieces))
        if found is not None:
            return [], found
        parts = [self.made[name, index] for index in pieces]
        size = sum(self.split.pieces[index].size for index in pieces)
        out = self.joined[name, pieces] = self._variable(f"{name}_joined", self.names.tensors[name], size)
        return [_named("Concat", {"axis": self._axis(name)}, parts, out)], out

    def _shrink(self, step: Step, node: gs.Node, read: PieceRead, held: tuple[int, ...], first: bool) -> None:
        """Narrow the weights of a consumer to the channels in the pieces `held`. The contribution of constant channels
        outside the pieces, and the bias, are added once: by the first node of a sum."""
        slot, pieces = read.item.input, self.split.pieces
        found = step.maps[slot]
        assert found is not None
        state = found.state.copy() if first else np.full_like(found.state, VARYING)
        state.reshape(-1)[np.concatenate([pieces[index] for index in read.pieces])] = VARYING
        maps, given = list(step.maps), [None if m is None else full_emission(m.shape) for m in step.maps]
        maps[slot] = found.with_state(state)
        given[slot] = _along(found, np.concatenate([pieces[index] for index in held]))
        request = Request(tuple(maps), tuple(given), step.flow.outputs, Rows())
        apply_resize(node, step.rule.resize(step.op, request), self.names)
        if not first and len(node.inputs) > 2:
            del node.inputs[2]

    def _axis(self, name: str) -> int:
        return self.analysis.maps[name].axes[0]

    def _variable(self, base: str, like: gs.Variable, size: int | None = None) -> gs.Variable:
        """A new value like `like`, with `size` channels if that is given."""
        name, shape = self.names.fresh(base), self.shapes[like.name]
        self.shapes[name] = shape if size is None else shape.with_size(self._axis(like.name), size)
        return gs.Variable(name, dtype=like.dtype)


def _along(found: ChannelMap, positions: IntArray) -> IntArray:
    """The emission of a value with one channel axis, along which it holds `positions`."""
    return positions.reshape([-1 if axis in found.axes else 1 for axis in range(found.rank)])


def _clone(node: gs.Node, name: str, inputs: Sequence[gs.Tensor], out: gs.Variable) -> gs.Node:
    return gs.Node(node.op, name, dict(node.attrs), list(inputs), [out], domain=node.domain)


def _named(op: str, attrs: dict[str, int], inputs: Sequence[gs.Tensor], out: gs.Variable) -> gs.Node:
    return gs.Node(op, out.name, attrs, list(inputs), [out])
