"""All operators that work element by element, with broadcasting: unary, binary, Where, Clip, Sum …

The operand with the most channel axes (the *full* one) gives the result its classes. Operands with a map of
the same shape are tied to it. An operand that is broadcast along a channel axis is read by the classes there.
Constants are cut to fit.
"""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import (
    MASKED,
    VARYING,
    WILD,
    ChannelMap,
    is_constant,
    is_wild,
    known_map,
    varying,
)
from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, NewNode, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import axis_positions, is_full, take
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.broadcast import (
    broadcast_operand,
    common_shape,
    lift,
    open_axes,
    operand_rank,
    selected_axis,
)
from upscale_onnx.errors import Reason
from upscale_onnx.model.operators import BROADCASTING, FRAGILE, UNARY
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array, FloatArray, IntArray

# Above this, float64 does not hold every integer.
_LARGEST_INTEGER = 2.0**53


class Elementwise(Rule):
    """The rule of inputs that broadcast to one output. Absent optional inputs are skipped."""

    def __init__(self, operands: int | None = None) -> None:
        # Inputs beyond these are parameters without channels (bounds, ratios, types).
        self.data_inputs = operands

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        if op.op_type == "Dropout" and _trains(op):
            raise Refused(Reason.UNSUPPORTED_FORM, "dropout in training mode")
        indices = self._dynamic(op, maps)
        rank = max(operand_rank(op, index) for index in self._connected(op))
        lifted = {index: lift(known_map(maps[index], "an operand"), rank) for index in indices}
        shape = common_shape(list(lifted.values()), rank)
        lifted, born = open_axes(op, lifted, shape, rank, fresh)
        full = [index for index in indices if lifted[index].shape == shape]
        if not full:
            raise Refused(Reason.MIXED_LAYOUT, "no operand has all channel axes of the result")
        labels = lifted[full[0]].labels
        ties = tuple((labels, lifted[index].labels) for index in full[1:])
        given = {index: known_map(maps[index], "an operand") for index in born}
        whole = {i: grown for i, grown in born.items() if selected_axis(op, i, lift(given[i], rank), shape) is None}
        reads = [Read(index, found.labels.ravel()) for index, found in given.items()]
        reads += [Read(index, grown.ravel()) for index, grown in whole.items()]
        evens: list[Even] = []
        for index in indices:
            if index not in full:
                read, even = broadcast_operand(index, lifted[index], labels)
                reads.append(read)
                evens.extend(even)
        out = ChannelMap(labels, self._content(op, lifted, shape))
        fragile = (labels,) if op.op_type in FRAGILE and not _safe_divisor(op) else ()
        fixed = tuple(whole.values()) + tuple(part for even in evens if even.aligned for part in even.parts)
        return Flow((out,), ties, tuple(reads), tuple(evens), fixed, fragile=fragile, role=Role.POINTWISE)

    def resize(self, op: Op, request: Request) -> Resize:
        result, emission = request.result, self._emission(op, request)
        if is_full(emission, result.shape):
            return Resize((emission,))
        constants, computed = {}, {}
        for index in self._connected(op):
            constant = op.constant(index)
            if constant is None:
                computed.update(_selected(op, index, request, emission))
                continue
            small = take(constant, emission, result.shape)
            if small is not constant:
                constants[index] = small
        return Resize((emission,), constants, computed=computed)

    def _connected(self, op: Op) -> list[int]:
        count = len(op.present) if self.data_inputs is None else min(self.data_inputs, len(op.present))
        return [index for index in range(count) if op.has(index)]

    def _dynamic(self, op: Op, maps: Maps) -> list[int]:
        indices = [index for index in self._connected(op) if op.constant(index) is None]
        if not indices or any(maps[index] is None for index in indices):
            raise Refused(Reason.UNKNOWN_SHAPE, "rank of an operand is not known")
        return indices

    def _emission(self, op: Op, request: Request) -> IntArray:
        """The emission on which the operands agree. An operand that lacks some channel axes is broadcast along them."""
        maps, result = request.maps, request.result
        found: IntArray | None = None
        partial: list[tuple[IntArray, tuple[int, ...]]] = []
        for index in self._dynamic(op, maps):
            lifted = lift(known_map(maps[index], "an operand"), result.rank)
            given = request.emissions[index]
            if given is None:
                raise Misaligned(result.labels)
            given = given.reshape((1,) * (result.rank - given.ndim) + given.shape)
            if lifted.shape != result.shape:
                partial.append((given, lifted.shape))
                continue
            if found is not None and not (found.shape == given.shape and np.array_equal(found, given)):
                raise Misaligned(result.labels, lifted.labels)
            found = given
        if found is None:
            found = np.arange(result.labels.size, dtype=np.int64).reshape(result.shape)
        for given, shape in partial:
            reached = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), result.shape)
            wanted = reached.ravel()[found]
            fits = all(g == 1 or g == f for g, f in zip(given.shape, found.shape, strict=True))
            if not fits or not np.array_equal(np.broadcast_to(given, found.shape), wanted):
                raise Misaligned(result.labels)
        return found

    def _content(self, op: Op, lifted: dict[int, ChannelMap], shape: tuple[int, ...]) -> FloatArray:
        """The contents of the result: evaluated where all operands are constant, zero where a product has a zero
        factor."""
        states: list[FloatArray | None] = []
        exact = True
        for index in range(len(op.present)):
            if index in lifted:
                states.append(np.broadcast_to(lifted[index].state, shape))
            elif not op.has(index):
                states.append(None)
            else:
                states.append(None)
                exact = exact and op.constant(index) is not None
        known = [state for state in states if state is not None]
        spread = {
            i: constant_content(_operand(op, i), shape) for i in self._connected(op) if op.constant(i) is not None
        }
        wild = np.logical_or.reduce([is_wild(state) for state in (*known, *spread.values()) if state is not None])
        fixed = np.logical_and.reduce([is_constant(state) for state in known])
        result = np.where(wild, WILD, varying(shape))
        if op.op_type == "Mul":
            zero = np.logical_or.reduce(
                [state == 0 for state in known] + [state == 0 for state in spread.values() if state is not None]
            )
            result = np.where(zero & ~wild, 0.0, result)
        if op.op_type == "Add" and all(_is_mask(op.constant(i)) for i, s in spread.items() if s is not None):
            calm = ~np.logical_or.reduce([is_wild(state) for state in known])
            result = np.where(wild & calm, MASKED, result)
        if not exact or not fixed.any() or any(state is None for state in spread.values()):
            return result
        for state in spread.values():
            if state is not None:
                fixed = fixed & is_constant(state)
        if not fixed.any():
            return result
        inputs: list[Array | None] = []
        for index in range(len(op.present)):
            operand = states[index] if states[index] is not None else spread.get(index)
            if operand is None:
                inputs.append(op.constant(index))
                continue
            constant = op.constant(index)
            inputs.append(operand[fixed].astype(op.dtype(index) if constant is None else constant.dtype))
        values = evaluate(op.op_type, op.opset, op.attrs, inputs, domain=op.domain)
        if values is None or values[0].shape != (int(fixed.sum()),) or values[0].dtype.kind not in "fiub":
            return result
        computed = values[0].astype(np.float64)
        computed = np.where(np.isfinite(computed), computed, WILD)
        if values[0].dtype.kind in "iu":
            computed = np.where(np.abs(computed) < _LARGEST_INTEGER, computed, VARYING)
        result = result.copy()
        result[fixed] = computed
        return result


def _selected(op: Op, index: int, request: Request, emission: IntArray) -> dict[int, NewNode]:
    """A Gather of what stays of an operand without classes, by the operand's index; nothing for other operands."""
    shape, found = request.result.shape, known_map(request.maps[index], "an operand")
    axis = selected_axis(op, index, lift(found, len(shape)), shape)
    if axis is None:
        return {}
    try:
        rows = axis_positions(emission, shape, axis)
    except ValueError:
        raise Misaligned(request.result.labels) from None
    if np.array_equal(rows, np.arange(shape[axis])):
        return {}
    return {index: NewNode("Gather", (index, rows), attrs={"axis": axis - len(shape) + found.rank})}


def _trains(op: Op) -> bool:
    """Whether a Dropout may drop anything."""
    if op.opset < 7:
        return not op.attrs.get("is_test", 0)
    return op.has(2) and (op.constant(2) is None or bool(np.any(op.constant(2))))


def _safe_divisor(op: Op) -> bool:
    return op.op_type in ("Div", "Mod") and op.constant(1) is not None


def _is_mask(constant: Array | None) -> bool:
    """Whether the constant is an attention mask: its infinities are all negative and fill no row."""
    if constant is None or constant.dtype.kind != "f" or constant.ndim == 0:
        return False
    finite = np.isfinite(constant)
    return bool((finite | (constant == -np.inf)).all() and finite.any(-1).all())


def _operand(op: Op, index: int) -> Array | None:
    """The constant at `index`; that of a divisor with infinity in place of zero, so that it counts as wild."""
    constant = op.constant(index)
    if constant is None or op.op_type != "Div" or index != 1 or constant.dtype.kind != "f":
        return constant
    return np.where(constant == 0, np.asarray(np.inf, constant.dtype), constant)


def constant_content(constant: Array | None, shape: tuple[int, ...]) -> FloatArray | None:
    """The content of a constant per channel, `VARYING` where entries differ along other axes. None where it has more
    axes than `shape`, or no numeric type."""
    if constant is None or constant.dtype.kind not in "fiub":
        return None
    rank = len(shape)
    if constant.ndim > rank:
        return None
    values = constant.reshape((1,) * (rank - constant.ndim) + constant.shape).astype(np.float64)
    values = np.where(np.isfinite(values), values, WILD)
    for axis in range(rank):
        if values.shape[axis] > 1 and shape[axis] == 1:
            head = values.take([0], axis)
            same = (values == head).all(axis, keepdims=True)
            mixed = np.where(is_wild(values).any(axis, keepdims=True), WILD, VARYING)
            values = np.where(same, head, mixed)
    return np.broadcast_to(values, shape)


register(Elementwise(1), *UNARY, "CastLike", "Dropout")
register(Elementwise(), *BROADCASTING)
register(Elementwise(), "BiasGelu", "FastGelu", "Gelu", "QuickGelu", domain=RUNTIME_DOMAIN)
