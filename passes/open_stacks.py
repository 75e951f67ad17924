"""Cut parts that are stacked on an axis apart before they are reshaped, where they keep different channels.

Exporters write queries, keys and values as one product `(batch, tokens, 3·heads·features)`, reshape it to
`(batch, tokens, 3, heads, features)`, and take each of the three by a Gather or a Split. Along an axis of a Reshape,
all parts hold as many channels. Cut apart in front of it, each part keeps what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.grid import even_out
from upscale_onnx.model import Shape
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, constant, disconnect, replace_nodes
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.passes.stacks import Part, Stack, stacks
from upscale_onnx.types import BoolArray, IntArray

# The opset since which Split and Unsqueeze are told sizes and axes by an input.
_BY_INPUTS = 13
_T = TypeVar("_T")


@dataclass(frozen=True)
class OpenStacks(Pass):
    """Puts a Split in front of a Reshape in the place of what takes its parts."""

    purpose: ClassVar = "stacked parts that keep different channels are cut apart before they are reshaped"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        analysis, graph = rewrite.analysis, rewrite.graph
        found = [stack for stack in stacks(analysis) if _is_uneven(analysis.kept[stack.labels])]
        if not found:
            return Changes()
        opening = _Opening(Names(graph), analysis.opset, dict(rewrite.shapes))
        for stack in found:
            opening.open(stack)
        replace_nodes(graph, opening.instead)
        return Changes(len(found), opening.made)


def _is_uneven(kept: BoolArray) -> bool:
    """Whether parts, `(parts, …)`, that are cut apart keep fewer channels than parts that all keep as many."""
    return bool(sum(even_out(part).sum() for part in kept) < even_out(kept).sum())


@dataclass
class _Opening:
    """made: the shapes of new values. instead: by a node's id, the nodes that take its place."""

    names: Names
    opset: int
    shapes: MutableMapping[str, Shape]
    made: MutableMapping[str, Shape | None] = field(default_factory=dict)
    instead: dict[int, list[gs.Node]] = field(default_factory=dict)

    def open(self, stack: Stack) -> None:
        """Replace the nodes of a stack."""
        value, axis = stack.nodes[0].inputs[0], stack.source.axes[0]
        whole = self.shapes[stack.nodes[0].outputs[0].name]
        part = Shape(whole.dtype, _without(whole.dims, stack.axis))
        entries = np.asarray(_without(stack.entries, stack.axis), np.int64)
        nodes: list[gs.Node] = []
        if not stack.leads:
            # Channels in front of the parts: these come to lie one behind the other along the next axis.
            axis, size = stack.axis, stack.whole.shape[stack.axis + 1] * stack.count
            merged = np.where(np.arange(entries.size) == axis, size, entries)
            value = self._made(nodes, "Reshape", value, part.with_size(axis, size), {}, {"shape": merged})
        pieces = self._split(nodes, value, axis, stack.count)
        for node in stack.nodes:
            self.instead[id(node)] = nodes if node is stack.nodes[0] else []
            disconnect(node)
        for taken in stack.parts:
            self._hand_over(stack, taken, pieces[taken.index], entries, part, nodes)

    def _hand_over(
        self, stack: Stack, taken: Part, value: gs.Variable, entries: IntArray, shape: Shape, nodes: list[gs.Node]
    ) -> None:
        """Make of a part what its readers know: reshaped, transposed, with the axis of the parts if they know that."""
        piece = value
        place = stack.axis if stack.perm is None else stack.perm.index(stack.axis)
        if stack.leads:
            value = self._made(nodes, "Reshape", value, shape, {}, {"shape": entries})
        if stack.perm is not None:
            order = [axis - (axis > stack.axis) for axis in _without(stack.perm, place)]
            moved = Shape(shape.dtype, tuple(shape.dims[axis] for axis in order))
            value, shape = self._made(nodes, "Transpose", value, moved, {"perm": order}, {}), moved
        if taken.keeps:
            kept = self.shapes[taken.made.name]
            value = self._made(nodes, "Unsqueeze", value, kept, {}, {"axes": np.asarray([place], np.int64)})
        if value is piece:
            nodes.append(gs.Node("Identity", taken.made.name, {}, [value], [taken.made]))
            return
        del self.made[value.name]
        nodes[-1].outputs = [taken.made]

    def _split(self, nodes: list[gs.Node], value: gs.Variable, axis: int, count: int) -> list[gs.Variable]:
        """The parts of a value along an axis, all of one size."""
        shape = self.shapes[value.name]
        size = shape.dims[axis]
        assert isinstance(size, int)
        sizes = np.full(count, size // count, np.int64)
        pieces = [self._variable(f"{value.name}_part", value, shape.with_size(axis, int(part))) for part in sizes]
        nodes.append(self._node("Split", f"{value.name}_parts", value, {"axis": axis}, {"split": sizes}))
        nodes[-1].outputs = pieces
        return pieces

    def _made(
        self,
        nodes: list[gs.Node],
        op: str,
        value: gs.Variable,
        shape: Shape,
        attrs: Mapping[str, Any],
        told: Mapping[str, IntArray],
    ) -> gs.Variable:
        """What a new node makes of a value."""
        made = self._variable(f"{value.name}_{op.lower()}", value, shape)
        nodes.append(self._node(op, made.name, value, attrs, told))
        nodes[-1].outputs = [made]
        return made

    def _node(
        self, op: str, name: str, value: gs.Variable, attrs: Mapping[str, Any], told: Mapping[str, IntArray]
    ) -> gs.Node:
        """A new node that reads a value and what it is `told`, as inputs or, in old opsets, as attributes."""
        node = gs.Node(op, name, dict(attrs), [value])
        for key, values in told.items():
            if op == "Reshape" or self.opset >= _BY_INPUTS:
                node.inputs.append(constant(self.names, f"{name}_{key}", values))
            else:
                node.attrs[key] = [int(v) for v in values]
        return node

    def _variable(self, base: str, like: gs.Variable, shape: Shape) -> gs.Variable:
        name = self.names.fresh(base)
        self.shapes[name] = self.made[name] = shape
        return gs.Variable(name, dtype=like.dtype)


def _without(sequence: Sequence[_T], place: int) -> tuple[_T, ...]:
    return (*sequence[:place], *sequence[place + 1 :])
