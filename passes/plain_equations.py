"""Write equations of Einsum that no rule looks through as chains of simpler ones.

    bii,bij->bj        a Reshape and a Slice take the diagonal: bi,bij->bj
    bij,jk->bk         the axis i, which only one operand has, is summed over first: bj,jk->bk
    bi,ij,jk->bk       the first two operands come first, as runtimes multiply them: bj,jk->bk

Each node takes the first of these steps that applies, so the pass is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.rules.equation import Equation, has_steps, read_equation
from upscale_onnx.channels.step import Step
from upscale_onnx.model import Shape
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, constant, disconnect, replace_nodes
from upscale_onnx.passes.new_nodes import NewNodes
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.types import Dim

_PAIR = 2


@dataclass(frozen=True)
class PlainEquations(Pass):
    """Replaces Einsum nodes of diagonals, of sums of one operand and of several operands that are barriers."""

    purpose: ClassVar = "equations of diagonals, sums of one operand and several operands become simpler ones"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        steps = [step for step in rewrite.analysis.steps if step.barrier and step.op.op_type == "Einsum"]
        steps = [step for step in steps if step.outputs[0] not in rewrite.alone and has_steps(step.op)]
        if not steps:
            return Changes()
        new = NewNodes(Names(rewrite.graph), rewrite.analysis.opset, dict(rewrite.shapes))
        instead: dict[int, list[gs.Node]] = {}
        for step in steps:
            found = _simpler(step, new)
            if found is None:
                continue
            operands, equation = found
            target = step.node.outputs[0]
            disconnect(step.node)
            if equation.operands == (equation.result,):
                new.end_in(target, operands[0])
            else:
                attrs = {"equation": _text(equation)}
                new.nodes.append(gs.Node("Einsum", step.node.name, attrs, operands, [target]))
            instead[id(step.node)] = new.nodes
        replace_nodes(rewrite.graph, instead)
        return Changes(len(instead), new.made)


def _simpler(step: Step, new: NewNodes) -> tuple[list[gs.Tensor], Equation] | None:
    """The operands and the equation of what is left of a node behind the new nodes; None where it stays."""
    new.nodes = []
    equation = read_equation(step.op)
    operands, letters, sizes = list(step.node.inputs), list(equation.operands), _sizes(step, equation)
    if any(tensor.name not in new.shapes for tensor in operands):
        return None
    for index, own in enumerate(letters):
        twice = next((letter for letter in own if own.count(letter) > 1), None)
        if twice is not None:
            size = sizes[twice]
            if not isinstance(size, int):
                return None
            operands[index], letters[index] = _diagonal(operands[index], own, twice, size, new)
            return operands, Equation(tuple(letters), equation.result)
        others = equation.result + "".join(letters[:index] + letters[index + 1 :])
        kept = "".join(letter for letter in own if letter in others)
        if kept != own and len(operands) > 1:
            operands[index] = _made([operands[index]], Equation((own,), kept), sizes, new)
            letters[index] = kept
            return operands, Equation(tuple(letters), equation.result)
    if len(operands) <= _PAIR:
        return None
    first, second, *rest = letters
    later = equation.result + "".join(rest)
    kept = "".join(letter for letter in dict.fromkeys(first + second) if letter in later)
    pair = _made(operands[:_PAIR], Equation((first, second), kept), sizes, new)
    return [pair, *operands[_PAIR:]], Equation((kept, *rest), equation.result)


def _made(operands: list[gs.Tensor], equation: Equation, sizes: dict[str, Dim], new: NewNodes) -> gs.Variable:
    shape = Shape(new.shapes[operands[0].name].dtype, tuple(sizes[letter] for letter in equation.result))
    return new.add("Einsum", operands, shape, equation=_text(equation))


def _text(equation: Equation) -> str:
    return f"{','.join(equation.operands)}->{equation.result}"


def _diagonal(value: gs.Tensor, letters: str, twice: str, size: int, new: NewNodes) -> tuple[gs.Variable, str]:
    """What lies where two axes have the same index, and the letters of its axes: of the two, the first stays, and the
    others keep their order."""
    first = letters.index(twice)
    second = letters.index(twice, first + 1)
    order = [axis for axis in range(len(letters)) if axis not in (first, second)]
    shape = new.shapes[value.name]
    front = tuple(shape.dims[axis] for axis in order)
    moved = new.add("Transpose", [value], Shape(shape.dtype, (*front, size, size)), perm=[*order, first, second])
    merged = Shape(shape.dtype, (*front, size * size))
    flat = new.told("Reshape", moved, merged, "shape", np.asarray([0] * len(order) + [size * size]))
    bounds = {"starts": [0], "ends": [size * size], "axes": [len(order)], "steps": [size + 1]}
    given = [constant(new.names, f"{flat.name}_{name}", np.asarray(entry, np.int64)) for name, entry in bounds.items()]
    return new.add("Slice", [flat, *given], Shape(shape.dtype, (*front, size))), "".join(
        letters[axis] for axis in [*order, first]
    )


def _sizes(step: Step, equation: Equation) -> dict[str, Dim]:
    """The size of each axis, which is that of the operands that have it: a number where one is known. An axis of size 1
    is that of another operand, if it has one."""
    sizes: dict[str, Dim] = {}
    for letters, dims in zip(equation.operands, step.op.in_dims, strict=True):
        for letter, size in zip(letters, dims or [None] * len(letters), strict=True):
            if letter not in sizes or sizes[letter] == 1 or (isinstance(size, int) and size != 1):
                sizes[letter] = size
    return sizes
