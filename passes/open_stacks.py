"""Cut parts that are stacked on an axis apart before they are reshaped, where they keep different channels.

Exporters write queries, keys and values as one product `(batch, tokens, 3·heads·features)`, reshape it to
`(batch, tokens, 3, heads, features)`, and take each of the three by a Gather or a Split. Along an axis of a Reshape,
all parts hold as many channels. Cut apart in front of it, each part keeps what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.grid import even_out
from upscale_onnx.model import Shape
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, disconnect, replace_nodes
from upscale_onnx.passes.new_nodes import NewNodes, permuted, without_axis
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.passes.stacks import Part, Stack, stacks
from upscale_onnx.types import BoolArray


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
        new, instead = NewNodes(Names(graph), analysis.opset, dict(rewrite.shapes)), dict[int, list[gs.Node]]()
        for stack in found:
            instead.update(_opened(stack, new))
        replace_nodes(graph, instead)
        return Changes(len(found), new.made)


def _is_uneven(kept: BoolArray) -> bool:
    """Whether parts, `(parts, …)`, that are cut apart keep fewer channels than parts that all keep as many."""
    return bool(sum(even_out(part).sum() for part in kept) < even_out(kept).sum())


def _opened(stack: Stack, new: NewNodes) -> dict[int, list[gs.Node]]:
    """By the id of each node of a stack, what takes its place."""
    value, axis = stack.nodes[0].inputs[0], stack.source.axes[0]
    part = without_axis(new.shapes[stack.nodes[0].outputs[0].name], stack.axis)
    entries = np.asarray(stack.entries, np.int64)[np.arange(len(stack.entries)) != stack.axis]
    new.nodes = []
    if not stack.leads:
        # Channels in front of the parts: these come to lie one behind the other along the next axis.
        axis, size = stack.axis, stack.whole.shape[stack.axis + 1] * stack.count
        merged = np.where(np.arange(entries.size) == axis, size, entries)
        value = new.told("Reshape", value, part.with_size(axis, size), "shape", merged)
    pieces = _split(value, axis, stack.count, new)
    for node in stack.nodes:
        disconnect(node)
    for taken in stack.parts:
        piece = pieces[taken.index]
        given = new.told("Reshape", piece, part, "shape", entries) if stack.leads else piece
        new.end_in(taken.made, _as_read(stack, taken, given, part, new))
    return {id(node): new.nodes if node is stack.nodes[0] else [] for node in stack.nodes}


def _as_read(stack: Stack, taken: Part, value: gs.Variable, shape: Shape, new: NewNodes) -> gs.Variable:
    """A part as its readers know it: transposed, and with the axis of the parts if they know that."""
    place = stack.axis
    if stack.perm is not None:
        place = stack.perm.index(stack.axis)
        order = [axis - (axis > stack.axis) for axis in stack.perm if axis != stack.axis]
        value = new.add("Transpose", [value], permuted(shape, order), perm=order)
    if taken.keeps:
        dims = new.shapes[value.name].dims
        value = new.told(
            "Unsqueeze", value, Shape(shape.dtype, (*dims[:place], 1, *dims[place:])), "axes", np.asarray([place])
        )
    return value


def _split(value: gs.Variable, axis: int, count: int, new: NewNodes) -> list[gs.Variable]:
    """The parts of a value along an axis, all of one size."""
    shape = new.shapes[value.name]
    size = shape.dims[axis]
    assert isinstance(size, int)
    part = shape.with_size(axis, size // count)
    pieces = [new.variable(f"{value.name}_part", part, value.dtype) for _ in range(count)]
    new.nodes.append(gs.Node("Split", new.names.fresh(f"{value.name}_parts"), {"axis": axis}, [value], pieces))
    new.tell(new.nodes[-1], "split", np.full(count, size // count))
    return pieces
