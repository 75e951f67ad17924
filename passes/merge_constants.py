"""Merge constant channels that a layer reads: one of them is enough, with the sum of their weights.

A bias cannot take over what such channels contribute where zeros are padded around them, or where there is no bias.
All of them are the same up to a factor, at the borders too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.channel_map import is_constant
from upscale_onnx.channels.step import Step
from upscale_onnx.model.constants import HeldConstant
from upscale_onnx.model.content import is_sparse
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, remade
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.types import Array, FloatArray


@dataclass(frozen=True)
class MergeConstants(Pass):
    """Moves the weights of constant channels to the one of the largest amount, for each layer by itself."""

    purpose: ClassVar = "constant channels that padding surrounds become one, whose weights are a sum"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        analysis = rewrite.analysis
        names: Names | None = None
        edits = 0
        for step, needed in zip(analysis.steps, analysis.needed, strict=True):
            merged = _merged(step) if needed else None
            if merged is None:
                continue
            names = names or Names(rewrite.graph)
            operand, weight = merged
            step.node.inputs[operand] = remade(names, step.node.inputs[operand], weight)
            edits += 1
        return Changes(edits)


def _merged(step: Step) -> tuple[int, Array] | None:
    """The index of the weight, and the weight that reads one constant channel only; None where nothing changes."""
    read = step.flow.dense
    if read is None or read.axis is None or read.known is None:
        return None
    given = step.maps[read.input]
    if given is None or not (is_constant(given.state) & (given.state != 0)).any():
        return None  # before the weight is decoded: nearly all nodes end here
    found = step.op.weight
    if found is None:
        return None
    weight, layout = found
    tensor = step.node.inputs[layout.operand]
    if not isinstance(tensor, gs.Constant) or isinstance(tensor, HeldConstant) or is_sparse(tensor):
        return None
    if layout.group != 1 or weight.dtype.kind != "f":
        return None
    _, state = given.along(read.axis, read.sources.size)
    constant = is_constant(state) & (state != 0)
    if read.foldable is not None:
        constant &= ~read.foldable
    used = np.flatnonzero(constant & read.known.read_by())
    if not used.size:
        return None
    target = int(np.argmax(np.where(constant, np.abs(state), 0.0)))
    if used.size == 1 and used[0] == target:
        return None
    moved = _moved(weight, layout.input_axis, state, used, target)
    return None if moved is None else (layout.operand, moved)


def _moved(weight: Array, axis: int, state: FloatArray, used: Array, target: int) -> Array | None:
    """The weight in which the channel `target` of the input contributes what the channels `used` did."""
    columns = np.moveaxis(weight, axis, 0)
    total = np.tensordot(state[used] / state[target], columns[used].astype(np.float64), 1).astype(weight.dtype)
    if not np.isfinite(total).all():
        return None
    result = columns.copy()
    result[used] = 0
    result[target] = total
    return np.moveaxis(result, 0, axis)
