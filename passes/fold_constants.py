"""Replace values that are known to be constant by initializers, and remove operations with neutral elements.

A branch whose channels are all constant (all of it is pruned) becomes a broadcast constant with one
entry per channel at the elementwise operators that read it. Adding zeros and multiplying by ones is removed.
A MatMul has no bias: its result for constant channels moves into the vector that is added behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.channel_map import ChannelMap, is_constant
from upscale_onnx.channels.flow import Role
from upscale_onnx.channels.rules.levels import known_levels
from upscale_onnx.channels.step import Step
from upscale_onnx.model.constants import HeldConstant
from upscale_onnx.model.content import is_sparse
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, constant, remade, replace_uses
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.types import Array

_MATRIX = 2
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Folds constant values into the elementwise operators that read them."""

    purpose: ClassVar = "values known to be constant become initializers, or move into a bias"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph. The changes also hold the contents of channels as analysed."""
        analysis = rewrite.analysis
        known = {name: levels for name, found in analysis.maps.items() if (levels := known_levels(found)) is not None}
        names: Names | None = None
        replaced: set[str] = set()
        folded = 0
        for step, needed in zip(analysis.steps, analysis.needed, strict=True):
            if needed and step.op.op_type == "MatMul" and not step.barrier:
                names = names or Names(rewrite.graph)
                if _fold_into_bias(step, names):
                    replaced.add(step.outputs[0])
            if not needed or step.flow.role is not Role.POINTWISE:
                continue
            for index in _constant_operands(step):
                names = names or Names(rewrite.graph)
                name = f"{step.node.inputs[index].name}_constant"
                step.node.inputs[index] = constant(names, name, _values(step, index))
                folded += 1
                if step.outputs[0] not in names.pinned:
                    _drop_if_neutral(step, index)
        return Changes(folded + len(replaced), replaced=frozenset(replaced), constants=known)


def _constant_operands(step: Step) -> list[int]:
    """The operands that are constant in every channel, if the other operands still give the result its shape."""
    dynamic = [index for index, found in enumerate(step.maps) if found is not None]
    out = step.op.out_dims[0]
    if out is None or len(dynamic) < 2:
        return []
    found = [index for index in dynamic if _is_folded(step.maps[index])]
    rest = [index for index in dynamic if index not in found]
    if not rest:
        return []
    shapes = [step.op.in_dims[index] for index in rest]
    for axis in range(1, len(out) + 1):
        wanted = out[-axis]
        if wanted is None or not any(
            dims is not None and len(dims) >= axis and dims[-axis] == wanted for dims in shapes
        ):
            return []
    return found


def _is_folded(found: ChannelMap | None) -> bool:
    return found is not None and found.merged is None and bool(is_constant(found.state).all())


def _values(step: Step, index: int) -> Array:
    found = step.maps[index]
    state = found.state if found is not None else np.zeros(())
    return state.astype(step.op.dtype(index))


def _drop_if_neutral(step: Step, index: int) -> None:
    neutral = _NEUTRAL.get(step.op.op_type)
    first_only = step.op.op_type in ("Sub", "Div") and index == 0
    if neutral is None or first_only or len(step.node.inputs) != 2 or (_values(step, index) != neutral).any():
        return
    other = step.node.inputs[1 - index]
    if step.op.in_dims[1 - index] != step.op.out_dims[0]:
        return
    replace_uses(step.node.outputs[0], other)


def _fold_into_bias(step: Step, names: Names) -> bool:
    """Move the contribution of constant channels, through a constant weight, into the vector added to the result.
    Returns whether that was done."""
    found, weight, result = step.maps[0], step.op.constant(1), step.node.outputs[0]
    if found is None or weight is None or found.axes != (found.rank - 1,) or weight.ndim != _MATRIX:
        return False
    state = found.state.ravel()
    moved = is_constant(state) & (state != 0) & (weight != 0).any(1)
    bias = _added_vector(result, weight.shape[1], names)
    if bias is None or not moved.any() or not np.isfinite(weight[moved]).all():
        return False
    adder, index, vector = bias
    rest = np.where(moved[:, None], np.zeros((), weight.dtype), weight)
    share = state[moved] @ weight[moved].astype(np.float64)
    step.node.inputs[1] = remade(names, step.node.inputs[1], rest)
    adder.inputs[index] = remade(names, adder.inputs[index], (vector + share).astype(vector.dtype))
    return True


def _added_vector(result: gs.Tensor, size: int, names: Names) -> tuple[gs.Node, int, Array] | None:
    """The only reader of `result`, if it adds a constant with one entry per channel of the last axis: the node, the
    index of that input, and its values."""
    if len(result.outputs) != 1 or result.name in names.pinned or result.outputs[0].op != "Add":
        return None
    adder = result.outputs[0]
    index = 1 - next(i for i, tensor in enumerate(adder.inputs) if tensor is result)
    tensor = adder.inputs[index]
    if not isinstance(tensor, gs.Constant) or isinstance(tensor, HeldConstant):
        return None
    if is_sparse(tensor):
        return None
    if tensor.values.size != size or tensor.values.shape[-1:] != (size,):
        return None
    return adder, index, tensor.values
