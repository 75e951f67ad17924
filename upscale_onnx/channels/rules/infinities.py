"""What results hold beside finite numbers, where an operand may be infinite or NaN: attention masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, Wild, is_wild
from upscale_onnx.channels.flow import Flow, Maps
from upscale_onnx.channels.op import Op
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.types import Array, FloatArray

BOOLEAN = frozenset(("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or"))
"""Operators whose results are truth values, whatever their operands hold."""
_MOVING = frozenset("Expand Flatten Gather Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split())  # noqa: SIM905
_CHOOSING = frozenset(("Cast", "Identity", "Min", "Where"))
_MASKS = frozenset((Wild.LOWERED, Wild.MASKED))


def wild_of(op: Op, lifted: Mapping[int, ChannelMap], connected: Sequence[int]) -> Wild:
    """What channels of the result that are `WILD` may hold. lifted: the maps of operands computed at run time, by
    index. connected: the indices of all operands."""
    operands = [lifted[i].wild for i in connected if i in lifted and is_wild(lifted[i].state).any()]
    operands += [kind for i in connected if (kind := wild_of_constant(op.constant(i))) is not None]
    if op.op_type in _CHOOSING:
        return Wild.of_any(operands)
    if op.op_type != "Add" or not _MASKS.issuperset(operands):
        return Wild.ANYTHING
    # Two masks may together leave nothing of a row.
    return operands[0] if len(operands) == 1 else Wild.LOWERED


def moved(op: Op, maps: Maps, flow: Flow) -> Flow:
    """The flow of a node with what its results hold, where it only moves the elements of its first input."""
    found = maps[0] if maps else None
    if found is None or found.wild is Wild.ANYTHING or op.op_type not in _MOVING or op.domain not in STANDARD_DOMAINS:
        return flow
    kind = Wild.of_any((found.wild,))
    return replace(flow, outputs=tuple(None if out is None else replace(out, wild=kind) for out in flow.outputs))


def without_nan(op: Op, index: int, found: ChannelMap) -> FloatArray:
    """The contents of an operand as the node uses them: NaN that it replaces by another number is no matter."""
    if op.guarded != index or found.wild is not Wild.UNDEFINED:
        return found.state
    return np.where(is_wild(found.state), np.nan, found.state)


def wild_of_constant(constant: Array | None) -> Wild | None:
    """What a constant holds beside finite numbers; None for nothing else."""
    if constant is None or constant.dtype.kind != "f":
        return None
    finite = np.isfinite(constant)
    if finite.all():
        return None
    if not (finite | (constant == -np.inf)).all():
        return Wild.ANYTHING
    return Wild.MASKED if constant.ndim and finite.any(-1).all() else Wild.LOWERED
