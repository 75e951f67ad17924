"""Write products that no rule looks through as products of matrices: equations of Einsum, and products by vectors.

An Einsum of two operands is a MatMul of operands whose axes are permuted and merged, or a Mul where no axis is summed
over. Rules look through all of these. onnxruntime runs most of them faster, too, so they stay even where no channel
leaves: for 64 rows, a product by a vector takes a quarter of the time, an Einsum as Keras writes it three quarters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.rules.equation import PRODUCT, plain_equation
from upscale_onnx.channels.step import Step
from upscale_onnx.model import Shape
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, disconnect, remade, replace_nodes
from upscale_onnx.passes.new_nodes import NewNodes, permuted
from upscale_onnx.passes.opening import Opening
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.types import Array, Dim

_ROW, _COLUMN = "<", ">"  # in place of letters: axes of size 1


@dataclass(frozen=True)
class PlainProducts(Pass):
    """Replaces Einsum nodes of two operands, and MatMul nodes by vectors, that are barriers."""

    purpose: ClassVar = "equations and products by vectors that no rule knows become products of matrices"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        steps = [step for step in rewrite.analysis.steps if step.barrier and step.op.op_type in ("Einsum", "MatMul")]
        steps = [step for step in steps if step.outputs[0] not in rewrite.alone and len(step.inputs) == 2]
        if not steps:
            return Changes()
        new = NewNodes(Names(rewrite.graph), rewrite.analysis.opset, dict(rewrite.shapes))
        instead, openings = dict[int, list[gs.Node]](), list[Opening]()
        for step in steps:
            new.nodes = []
            value = _written(step, new)
            if value is None:
                continue
            # A vector by matrices takes longer so, 1.1 to 1.6 times: these are transposed, or the vector gets axes.
            comes_back = step.op.op_type == "MatMul" and step.op.in_rank(0) == 1
            inputs = [_read_again(step, index, new) for index in range(2)] if comes_back else []
            (target,) = step.node.outputs
            disconnect(step.node)
            new.end_in(target, value)
            instead[id(step.node)] = new.nodes
            if comes_back:
                openings.append(Opening.of(step.node, inputs, new.nodes))
        replace_nodes(rewrite.graph, instead)
        return Changes(len(instead), new.made, opened=tuple(openings))


@dataclass(frozen=True, eq=False)
class _Operand:
    """A value, or a constant (`array`), with a letter for each axis."""

    value: gs.Tensor
    shape: Shape
    letters: str
    array: Array | None

    def in_order(self, order: str, new: NewNodes) -> _Operand:
        """The operand with its axes in this order. Letters that it lacks are axes of size 1."""
        own = [self.letters.index(letter) for letter in order if letter in self.letters]
        missing = tuple(place for place, letter in enumerate(order) if letter not in self.letters)
        value, shape = self.value, permuted(self.shape, own)
        sizes = iter(shape.dims)
        wide = Shape(shape.dtype, tuple(1 if place in missing else next(sizes) for place in range(len(order))))
        if self.array is not None:
            return _Operand(value, wide, order, np.expand_dims(self.array.transpose(own), missing))
        if own != sorted(own):
            value = new.add("Transpose", [value], shape, perm=own)
        if missing:
            value = new.told("Unsqueeze", value, wide, "axes", np.asarray(missing))
        return _Operand(value, wide, order, None)

    def with_merged(self, axis: int, count: int, new: NewNodes) -> _Operand:
        """The operand with one axis in place of `count` from `axis` on, whose sizes are known."""
        if count == 1:
            return self
        size = math.prod(dim for dim in self.shape.dims[axis : axis + count] if isinstance(dim, int))
        dims = (*self.shape.dims[:axis], size, *self.shape.dims[axis + count :])
        shape, letters = Shape(self.shape.dtype, dims), self.letters[: axis + 1] + self.letters[axis + count :]
        if self.array is not None:
            return _Operand(self.value, shape, letters, self.array.reshape(shape.sizes))
        entries = [0] * axis + [dim if isinstance(dim, int) else -1 for dim in dims[axis:]]
        return _Operand(new.told("Reshape", self.value, shape, "shape", np.asarray(entries)), shape, letters, None)

    def sized(self, sizes: Mapping[str, Dim], inner: str) -> _Operand:
        """The operand with the sizes of axes that the other one has, too."""
        known = zip(self.letters, self.shape.dims, strict=True)
        dims = tuple(sizes[letter] if letter in inner else dim for letter, dim in known)
        return replace(self, shape=Shape(self.shape.dtype, dims))

    def tensor(self, new: NewNodes) -> gs.Tensor:
        """The operand as the input of a node."""
        return self.value if self.array is None else remade(new.names, self.value, self.array)


def _operand(step: Step, index: int, letters: str) -> _Operand:
    array, dims = step.op.constant(index), step.op.in_dims[index]
    assert dims is not None
    return _Operand(step.node.inputs[index], Shape(step.op.dtypes[index], dims), letters, array)


def _read_again(step: Step, index: int, new: NewNodes) -> gs.Tensor:
    """What the node would read if it came back. Nodes that compute a constant may be gone by then."""
    value, array = step.node.inputs[index], step.op.constant(index)
    return value if array is None or isinstance(value, gs.Constant) else remade(new.names, value, array)


def _written(step: Step, new: NewNodes) -> gs.Variable | None:
    """What the new nodes of a product make; None where it stays."""
    equation = plain_equation(step.op)
    if equation is None or step.outputs[0] not in new.shapes:
        return None
    left, right = (_operand(step, index, letters) for index, letters in enumerate(equation.operands))
    if left.array is not None:
        left, right = right, left
    inner = "".join(letter for letter in left.letters if letter not in equation.result)
    if not inner:
        parts = [part.in_order(_from_first(equation.result, part.letters), new) for part in (left, right)]
        return new.add("Mul", [part.tensor(new) for part in parts], new.shapes[step.outputs[0]])
    return _multiplied(left, right, inner, equation.result, f"{step.outputs[0]}{PRODUCT}", new)


def _multiplied(left: _Operand, right: _Operand, inner: str, result: str, name: str, new: NewNodes) -> gs.Variable:
    """The product that is summed over the axes `inner`. name: that of what the MatMul makes."""
    batch, rows = (
        "".join(letter for letter in left.letters if letter in result and (letter in right.letters) is both)
        for both in (True, False)
    )
    columns = "".join(letter for letter in right.letters if letter not in left.letters)
    sizes = _sizes(left, right)
    # Of the rows, all but the last are batches, along which the right operand is the same.
    front = "" if right.array is not None else rows[:-1]
    made = rows[:-1] + batch + (rows[-1:] or _ROW)
    left, right = left.sized(sizes, inner), right.sized(sizes, inner)
    a = left.in_order(made + inner, new).with_merged(len(made), len(inner), new)
    b = right.in_order(front + batch + inner + (columns or _COLUMN), new)
    b = b.with_merged(len(front + batch), len(inner), new)
    b = b.with_merged(len(front + batch) + 1, len(columns) or 1, new)
    dims = tuple(
        one if one != 1 else other
        for one, other in zip_longest(a.shape.dims[-3::-1], b.shape.dims[-3::-1], fillvalue=1)
    )[::-1]
    shape = Shape(left.shape.dtype, (*dims, a.shape.dims[-2], b.shape.dims[-1]))
    value = new.add("MatMul", [a.tensor(new), b.tensor(new)], shape, name)
    made += columns or _COLUMN
    if len(columns) > 1:
        kept = [0] * (len(made) - len(columns))
        whole = Shape(shape.dtype, (*shape.dims[:-1], *(sizes[letter] for letter in columns)))
        numbers = [size for letter in columns if isinstance(size := sizes[letter], int)]
        value, shape = new.told("Reshape", value, whole, "shape", np.asarray(kept + numbers)), whole
    extra = [place for place, letter in enumerate(made) if letter in (_ROW, _COLUMN)]
    if extra:
        shape = Shape(shape.dtype, tuple(dim for place, dim in enumerate(shape.dims) if place not in extra))
        value = new.told("Squeeze", value, shape, "axes", np.asarray(extra))
        made = made.replace(_ROW, "").replace(_COLUMN, "")
    order = [made.index(letter) for letter in result]
    return value if order == sorted(order) else new.add("Transpose", [value], permuted(shape, order), perm=order)


def _sizes(left: _Operand, right: _Operand) -> dict[str, Dim]:
    """The size of each axis: a number where it is known of one operand."""
    sizes: dict[str, Dim] = {}
    for letter, size in zip(left.letters + right.letters, left.shape.dims + right.shape.dims, strict=True):
        if not isinstance(sizes.get(letter), int):
            sizes[letter] = size
    return sizes


def _from_first(result: str, letters: str) -> str:
    """The letters of a result from the first one that an operand has."""
    return result[min((result.index(letter) for letter in letters), default=len(result)) :]
