"""Which axes are channels in the weights, inputs and outputs of Conv, ConvTranspose, Gemm and MatMul."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto

from upscale_onnx.model.operators import CONVOLUTIONS, MATRIX_PRODUCTS
from upscale_onnx.types import Array


@dataclass(frozen=True)
class WeightLayout:
    """The layout of a node's weight: which axes of the weight and of the values around it are channels.

    operand: the index of the input that is the weight.
    input_axis, output_axis: the axes of the weight for the channels that the node reads and creates. With several
        groups, axis 1 has the channels of one group only.
    group: the number of groups.
    read_axis, made_axis: the channel axes of the value that the node reads and of the value that it makes.
    bias: the index of the input that is the bias, None if the operator has none.
    """

    operand: int
    input_axis: int
    output_axis: int
    group: int = 1
    read_axis: int = 1
    made_axis: int = 1
    bias: int | None = None

    def counts(self, shape: Sequence[int]) -> tuple[int, int]:
        """How many channels a node with a weight of this shape reads and creates."""
        inputs, outputs = (shape[a] * (self.group if a == 1 else 1) for a in (self.input_axis, self.output_axis))
        return inputs, outputs

    def per_group(self, shape: Sequence[int]) -> tuple[int, int]:
        """How many channels each group of a node with a weight of this shape reads and creates."""
        inputs, outputs = self.counts(shape)
        return inputs // self.group, outputs // self.group

    def canonical(self, weight: Array) -> Array:
        """The weight in its canonical form (C_out, C_in/group, …)."""
        return weight if self.output_axis == 0 else swapped(weight, self.group)

    def stored(self, canonical: Array) -> Array:
        """The weight in the layout of the node, from its canonical form."""
        return np.ascontiguousarray(self.canonical(canonical))


def weight_layout(op_type: str, attrs: Mapping[str, Any], rank: int, operand: int = 1) -> WeightLayout | None:
    """The layout of a weight of rank `rank` that is input `operand` of a node; None if that input is no weight."""
    kind = op_type.removeprefix("Fused")
    if kind in CONVOLUTIONS:
        # (C_out, C_in/group, k…), transposed (C_in, C_out/group, k…)
        axes = (1, 0) if kind == "Conv" else (0, 1)
        return WeightLayout(1, *axes, int(attrs.get("group", 1)), bias=2) if operand == 1 and rank > 2 else None
    if kind not in MATRIX_PRODUCTS or rank < 2 or (kind == "Gemm" and rank > 2):
        return None
    # (…, M, K) by (…, K, N), each transposed where transA and transB say so, which a standard MatMul does not have.
    right = operand == 1
    transposes = op_type != "MatMul"
    own, other = (bool(transposes and attrs.get(name, 0)) for name in (("transA", "transB")[:: -1 if right else 1]))
    axes = (rank - 2, rank - 1) if right != own else (rank - 1, rank - 2)
    read_axis, made_axis = -1 if right != other else -2, -1 if right else -2
    return WeightLayout(operand, *axes, 1, read_axis, made_axis, 2 if kind == "Gemm" and right else None)


def node_layout(node: NodeProto, rank: int, operand: int = 1) -> WeightLayout | None:
    """Return the `weight_layout` of a NodeProto."""
    return weight_layout(node.op_type, {a.name: a.i for a in node.attribute}, rank, operand)


def swapped(weight: Array, group: int) -> Array:
    """Return an array of shape (g·a, b, …) as (g·b, a, …): axes a and b are swapped in each of the g groups."""
    if group == 1:
        return weight.swapaxes(0, 1)
    first, second, window = weight.shape[0] // group, weight.shape[1], weight.shape[2:]
    swapped = weight.reshape(group, first, second, *window).swapaxes(1, 2)
    return swapped.reshape(group * second, first, *window)
