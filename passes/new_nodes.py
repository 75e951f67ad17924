"""New nodes of passes, with the shapes of what they make."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.model import Shape
from upscale_onnx.passes.editing import Names, constant
from upscale_onnx.types import IntArray

# The opset since which Split, Squeeze and Unsqueeze are told sizes and axes by an input. A Reshape is since 5.
_BY_INPUTS = 13


@dataclass
class NewNodes:
    """Nodes that take the place of others. shapes: those of all values. made: the shapes of new values."""

    names: Names
    opset: int
    shapes: MutableMapping[str, Shape]
    nodes: list[gs.Node] = field(default_factory=list)
    made: MutableMapping[str, Shape | None] = field(default_factory=dict)

    def add(self, op: str, inputs: list[gs.Tensor], shape: Shape, base: str | None = None, **attrs: Any) -> gs.Variable:
        """What a node makes of `inputs`: a new value of `shape`. base: what its name begins with."""
        made = self.variable(base or f"{inputs[0].name}_{op.lower()}", shape, inputs[0].dtype)
        self.nodes.append(gs.Node(op, made.name, attrs, inputs, [made]))
        return made

    def told(self, op: str, value: gs.Tensor, shape: Shape, key: str, numbers: IntArray) -> gs.Variable:
        """What a node makes of a value by a shape or by axes."""
        made = self.add(op, [value], shape)
        self.tell(self.nodes[-1], key, numbers)
        return made

    def tell(self, node: gs.Node, key: str, numbers: IntArray) -> None:
        """Give a node a shape, axes or sizes: as an input, or as an attribute in old opsets."""
        if node.op == "Reshape" or self.opset >= _BY_INPUTS:
            node.inputs.append(constant(self.names, f"{node.name}_{key}", np.asarray(numbers, np.int64)))
        else:
            node.attrs[key] = [int(number) for number in numbers]

    def variable(self, base: str, shape: Shape, dtype: Any) -> gs.Variable:
        """A new value."""
        name = self.names.fresh(base)
        self.shapes[name] = self.made[name] = shape
        return gs.Variable(name, dtype=dtype)

    def end_in(self, target: gs.Variable, value: gs.Tensor) -> None:
        """Let the last node make `target` instead of `value`, which it makes for that."""
        last = self.nodes[-1] if self.nodes else None
        if last is None or len(last.outputs) != 1 or last.outputs[0] is not value:
            self.nodes.append(gs.Node("Identity", target.name, {}, [value], [target]))
            return
        del self.made[value.name]
        last.outputs = [target]


def permuted(shape: Shape, order: list[int]) -> Shape:
    """The shape of a transposed value."""
    return Shape(shape.dtype, tuple(shape.dims[axis] for axis in order))


def without_axis(shape: Shape, axis: int) -> Shape:
    """The shape without one of its axes."""
    return Shape(shape.dtype, (*shape.dims[:axis], *shape.dims[axis + 1 :]))
