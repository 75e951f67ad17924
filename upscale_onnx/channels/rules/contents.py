"""What the channels of a pointwise operator's result hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, varying
from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.infinities import BOOLEAN, without_nan
from upscale_onnx.types import Array, BoolArray, FloatArray

# Above this, float64 does not hold every integer.
_LARGEST_INTEGER = 2.0**53


def pointwise_content(
    op: Op, lifted: Mapping[int, ChannelMap], connected: Sequence[int], shape: tuple[int, ...]
) -> FloatArray:
    """The contents of a result of this shape: evaluated where all operands are constant, zero where a product has a
    zero factor, and where zero is divided by what is never zero. lifted: the maps of operands computed at run time, by
    index. connected: the indices of all operands."""
    states: list[FloatArray | None] = []
    exact = True
    for index in range(len(op.present)):
        if index in lifted:
            states.append(np.broadcast_to(without_nan(op, index, lifted[index]), shape))
        elif not op.has(index):
            states.append(None)
        else:
            states.append(None)
            exact = exact and op.is_constant(index)
    known = [state for state in states if state is not None]
    spread = {i: constant_content(_operand(op, i), shape) for i in connected if op.is_constant(i)}
    wild = np.logical_or.reduce([is_wild(state) for state in (*known, *spread.values()) if state is not None])
    wild = wild | _divided_by_zero(op, states, shape)
    fixed = np.logical_and.reduce([is_constant(state) for state in known])
    if op.op_type in BOOLEAN:
        wild = np.zeros(shape, bool)
    result = np.where(wild, WILD, varying(shape))
    if op.op_type == "Mul":
        zero = np.logical_or.reduce(
            [state == 0 for state in known] + [state == 0 for state in spread.values() if state is not None]
        )
        result = np.where(zero & ~wild, 0.0, result)
    if op.divides_safely and states[0] is not None:
        result = np.where((states[0] == 0) & ~wild, 0.0, result)
    if op.op_type == "Where":
        result = _chosen(states, spread, result)
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


def _chosen(
    states: Sequence[FloatArray | None], spread: Mapping[int, FloatArray | None], result: FloatArray
) -> FloatArray:
    """The contents of a Where: of one operand where the condition is known, and where both are equal whatever it is."""
    condition, yes, no = (states[index] if states[index] is not None else spread.get(index) for index in range(3))
    if yes is not None and no is not None:
        result = np.where(is_constant(yes) & (yes == no), yes, result)
    if condition is None:
        return result
    for kept, operand in ((condition == 1, yes), (condition == 0, no)):
        result = result if operand is None else np.where(kept, operand, result)
    return result


def _divided_by_zero(op: Op, states: Sequence[FloatArray | None], shape: tuple[int, ...]) -> BoolArray:
    """Where a computed divisor is zero, or a base of zero is raised to a power that may be negative."""
    exponent = op.constant(1)
    place = {"Div": 1, "Pow": 0}.get(op.op_type, len(states))
    state = states[place] if place < len(states) else None
    if state is None or (op.op_type == "Pow" and exponent is not None and bool((exponent >= 0).all())):
        return np.zeros(shape, bool)
    return np.asarray(state == 0)


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
