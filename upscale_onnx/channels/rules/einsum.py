"""Einsum of one or two operands, where its equation is a transposition, a sum, or a matrix product.

With a constant weight it contracts one axis of the activation, or carries channels that lie on other axes. Of two
activations it is a MatMul of transposed operands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import coordinates
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.attention import Attend
from upscale_onnx.channels.rules.contraction import Contraction
from upscale_onnx.channels.rules.equation import Equation, equation_of
from upscale_onnx.channels.rules.kernel import DenseKernel
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, IntArray


class _Weighted(Contraction):
    """The rule of a constant weight of two axes, one of which is contracted."""

    def kernel(self, op: Op, maps: Maps) -> DenseKernel:
        weight, read, made = self._weight(op)
        equation = equation_of(op)
        operand = 0 if op.is_constant(0) else 1
        own = equation.operands[operand]
        matrix = weight if own == made + read else weight.T
        in_axis = equation.operands[1 - operand].index(read)
        return DenseKernel(matrix, None, 1 - operand, in_axis, equation.result.index(made), folds=False)

    def store(self, op: Op, kernel: DenseKernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        _, read, made = self._weight(op)
        operand = 0 if op.is_constant(0) else 1
        own = equation_of(op).operands[operand]
        return {operand: kernel.weight if own == made + read else np.ascontiguousarray(kernel.weight.T)}, {}

    def _weight(self, op: Op) -> tuple[Array, str, str]:
        """The weight, and the letters of the axis that it reads and of the axis that it makes."""
        equation = equation_of(op)
        operand = 0 if op.is_constant(0) else 1
        weight, own, other = op.constant(operand), equation.operands[operand], equation.operands[1 - operand]
        read = [letter for letter in own if letter in other and letter not in equation.result]
        made = [letter for letter in own if letter not in other and letter in equation.result]
        if (
            weight is None
            or len(own) != 2
            or len(read) != 1
            or len(made) != 1
            or set(other) - {*equation.result, *read}
        ):
            raise Refused(Reason.UNSUPPORTED_FORM, f"equation {op.attrs.get('equation')} with a constant")
        return weight, read[0], made[0]


class Einsum(Rule):
    """Chooses the rule by the number of operands and by which of them is constant."""

    data_inputs: int | None = None

    def __init__(self) -> None:
        self._weighted, self._attend = _Weighted(), Attend()

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        equation = equation_of(op)
        if len(maps) == 1:
            return _alone(equation, known_map(maps[0]), fresh)
        if len(maps) != 2:
            raise Refused(Reason.UNSUPPORTED_FORM, f"{len(maps)} operands")
        if not op.is_constant(0) and not op.is_constant(1):
            return self._product(op, equation, maps, fresh)
        kernel = self._weighted.kernel(op, maps)
        found = known_map(maps[kernel.input], "the activation")
        if not found.axes or kernel.in_axis in found.axes:
            return self._weighted.flow(op, maps, fresh)
        letters = equation.operands[kernel.input]
        state = np.where(found.state == 0, 0.0, VARYING)
        wild = is_wild(found.state) | (not np.isfinite(kernel.weight).all())
        out = _moved(found.with_state(np.where(wild, WILD, state)), letters, equation.result)
        return Flow((out,), role=Role.CONTRACTION)

    def resize(self, op: Op, request: Request) -> Resize:
        equation = equation_of(op)
        if len(request.maps) == 1:
            found, emission = request.first_input()
            if any(letter not in equation.result for letter in _letters(equation.operands[0], found)):
                return Resize((np.zeros(request.result.shape, np.int64),))
            return Resize((_moved_emission(found, emission, equation.operands[0], equation.result),))
        if not op.is_constant(0) and not op.is_constant(1):
            return self._resized_product(op, equation, request)
        kernel = self._weighted.kernel(op, request.maps)
        found, given = known_map(request.maps[kernel.input]), request.emissions[kernel.input]
        if not found.axes or kernel.in_axis in found.axes:
            return self._weighted.resize(op, request)
        if given is None:
            raise Misaligned(found.labels)
        return Resize((_moved_emission(found, given, equation.operands[kernel.input], equation.result),))

    def _product(self, op: Op, equation: Equation, maps: Maps, fresh: Fresh) -> Flow:
        orders = _product_orders(equation)
        moved = tuple(_moved(known_map(m), *pair) for m, pair in zip(maps, orders.operands, strict=True))
        made = self._attend.flow(op, moved, fresh)
        return Flow(
            (_moved(known_map(made.outputs[0]), orders.product, equation.result),), made.ties, made.reads, made.evens,
            made.fixed, role=made.role,
        )  # fmt: skip

    def _resized_product(self, op: Op, equation: Equation, request: Request) -> Resize:
        orders = _product_orders(equation)
        given = list(zip(request.maps, request.emissions, orders.operands, strict=True))
        if any(emission is None for _, emission, _ in given):
            raise Misaligned(request.result.labels)
        moved = tuple(_moved(known_map(found), *pair) for found, _, pair in given)
        emissions = tuple(_moved_emission(known_map(f), e, *pair) for f, e, pair in given if e is not None)
        result = _moved(request.result, equation.result, orders.product)
        made = self._attend.resize(op, Request(moved, emissions, (result,), request.choose))
        if made.computed and orders.operands[0][0] != orders.operands[0][1]:
            raise Misaligned(request.result.labels, *(found.labels for found in moved))
        emission = _moved_emission(result, made.outputs[0], orders.product, equation.result)
        return Resize((emission,), computed=made.computed)


@dataclass(frozen=True)
class _Orders:
    """The letters of the operands, as they are and as a MatMul takes them, and those of its product."""

    operands: tuple[tuple[str, str], tuple[str, str]]
    product: str


def _product_orders(equation: Equation) -> _Orders:
    """How the operands are transposed. Raises `Refused` where the equation is no batch of matrix products."""
    left, right = equation.operands
    batch = "".join(letter for letter in left if letter in right and letter in equation.result)
    inner = "".join(letter for letter in left if letter in right and letter not in equation.result)
    rows, columns = (
        "".join(letter for letter in own if letter not in other) for own, other in ((left, right), (right, left))
    )
    if not len(inner) == len(rows) == len(columns) == 1 or set(batch + rows + columns) != set(equation.result):
        raise Refused(Reason.UNSUPPORTED_FORM, f"equation {left},{right}->{equation.result} of two activations")
    return _Orders(((left, batch + rows + inner), (right, batch + inner + columns)), batch + rows + columns)


def _letters(letters: str, found: ChannelMap) -> list[str]:
    return [letters[axis] for axis in found.axes]


def _alone(equation: Equation, found: ChannelMap, fresh: Fresh) -> Flow:
    """The flow of one operand, whose axes are permuted, or summed over."""
    letters, result = equation.operands[0], equation.result
    gone = [letter for letter in _letters(letters, found) if letter not in result]
    wild = is_wild(found.state)
    if not gone:
        kept = np.isfinite(found.state) if set(letters) == set(result) else found.state == 0
        state = np.where(wild, WILD, np.where(kept, found.state, VARYING))
        return Flow((_moved(found.with_state(state), letters, result),))
    if len(gone) < len(found.axes):
        raise Refused(Reason.MIXED_LAYOUT, "sums over some of several channel axes")
    target, ones = fresh(1), (1,) * len(result)
    out = ChannelMap(target.reshape(ones), np.full(ones, WILD if wild.any() else VARYING))
    return Flow((out,), reads=(Read(0, found.labels.ravel(), target, foldable=(found.state == 0).ravel()),))


def _moved(found: ChannelMap, letters: str, result: str) -> ChannelMap:
    """The map with its axes in the order of `result`: axes that are missing there have no channels."""
    return ChannelMap(_ordered(found.labels, letters, result), _ordered(found.state, letters, result))


def _ordered(array: Array, letters: str, result: str) -> Array:
    kept = [axis for axis, letter in enumerate(letters) if letter in result]
    if any(array.shape[axis] > 1 for axis in range(len(letters)) if axis not in kept):
        raise Refused(Reason.MIXED_LAYOUT, "channels lie on an axis that is summed over")
    present = [letter for letter in result if letter in letters]
    small = array.transpose([*(letters.index(letter) for letter in present), *_others(len(letters), kept)])
    sizes = iter(small.shape)
    return small.reshape([next(sizes) if letter in letters else 1 for letter in result])


def _others(rank: int, kept: list[int]) -> list[int]:
    return [axis for axis in range(rank) if axis not in kept]


def _moved_emission(found: ChannelMap, emission: IntArray, letters: str, result: str) -> IntArray:
    shape = _ordered(found.labels, letters, result).shape
    where = [_ordered(c, letters, result) for c in coordinates(emission, found.shape)]
    index = [where[letters.index(letter)] if letter in letters else np.zeros_like(where[0]) for letter in result]
    return np.asarray(np.ravel_multi_index(tuple(index), shape), np.int64) if index else np.zeros((), np.int64)


register(Einsum(), "Einsum", since=12)
