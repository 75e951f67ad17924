"""Channels that all hold what one value of a single channel holds.

Where a mean over all channels is taken off, channels of zeros become minus that mean: they vary, but all of them alike.
What pointwise operators make of them is known by the same operators on a single channel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, Copies, is_constant
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.broadcast import operand_dims
from upscale_onnx.channels.rules.levels import common_level
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.types import Array, BoolArray, FloatArray

# A value that takes more operators than this is not followed.
_DEEPEST = 8


def copies_of(op: Op, operands: Mapping[int, ChannelMap], content: FloatArray) -> Copies | None:
    """The channels of a pointwise result that are copies; None where there are none.

    operands: the maps of the inputs computed at run time, by index. content: what the result's channels hold.
    """
    if op.domain not in STANDARD_DOMAINS or not all(op.present):
        return None
    where, depth = ~is_constant(content), 0
    inputs: list[int | str | Array | NewNode] = []
    for index in range(len(op.present)):
        constant = op.constant(index)
        if constant is not None:
            if constant.size != 1:
                return None
            inputs.append(constant)
            continue
        found = operands.get(index)
        operand = None if found is None else _operand(op, index, found, content.shape)
        if operand is None:
            return None
        value, held = operand
        where, depth = where & held, max(depth, 0 if found is None or found.copies is None else found.copies.depth)
        inputs.append(value)
    varies = any(isinstance(value, str | NewNode) for value in inputs)
    if not varies or not where.any() or depth == _DEEPEST:
        return None
    return Copies(where, NewNode(op.op_type, tuple(inputs), attrs=op.attrs), depth + 1)


def _operand(
    op: Op, index: int, found: ChannelMap, shape: tuple[int, ...]
) -> tuple[str | Array | NewNode, BoolArray] | None:
    """One channel of an operand, and where all channels are the same as it; None where none is known to be."""
    if found.rank != len(shape):
        return None
    if found.shape == shape:
        if found.copies is not None:
            return found.copies.value, found.copies.where
        if not op.dtypes[index] or op.dtype(index).kind != "f":
            return None
        if found.levels is not None:
            value, alike = common_level(found)
            return value.astype(op.dtype(index)), alike
        return np.zeros((1,) * found.rank, op.dtype(index)), found.state == 0
    single = all(size == 1 for size in found.shape) and all(
        dim == 1 for dim, size in zip(operand_dims(op, index, len(shape)), shape, strict=True) if size > 1
    )
    return (op.inputs[index], np.ones(shape, bool)) if single else None
