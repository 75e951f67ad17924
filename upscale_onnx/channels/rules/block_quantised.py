"""onnxruntime's MatMulNBits: a weight of few bits, with a scale for each block of inputs of each output.

Outputs leave one by one, inputs in whole blocks: other blocks would have other scales. The bytes that stay are never
computed anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import known_map
from upscale_onnx.channels.flow import Maps, Request, Resize
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.contraction import Contraction
from upscale_onnx.channels.rules.kernel import DenseKernel
from upscale_onnx.errors import Reason
from upscale_onnx.model.packing import packed, unpacked
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array

_WEIGHT, _SCALES, _POINTS, _ORDER, _BIAS = 1, 2, 3, 4, 5
_BITS = (2, 4, 8)


@dataclass(frozen=True, eq=False)
class Blocks:
    """A weight as it is stored, by output and block.

    bits, size: of an integer, and the inputs of a block; the last block may have fewer. inputs: in all. content:
    `(N, blocks, bytes)`. scales: `(N, blocks)`. points: the same, None where they are left out.
    """

    bits: int
    size: int
    inputs: int
    content: Array
    scales: Array
    points: Array | None

    @property
    def count(self) -> int:
        """How many blocks an output has."""
        return -(-self.inputs // self.size)

    def values(self) -> Array:
        """The weight `(N, inputs)`, in the type of the scales."""
        steps = unpacked(self.content, self.bits, self.size).astype(self.scales.dtype)
        point = np.asarray(1 << self.bits - 1) if self.points is None else self.points[..., None]
        weight: Array = (steps - point.astype(self.scales.dtype)) * self.scales[..., None]
        whole: Array = weight.reshape(len(weight), -1)[:, : self.inputs]
        return whole


class MatMulNBits(Contraction):
    """The rule of A `(…, K)`, the weight, scales, zero points, and a bias."""

    def blocks(self, op: Op) -> Blocks:
        """The weight of a node. Raises `Refused` where its inputs do not fit its attributes."""
        return _blocks(op)

    def resize(self, op: Op, request: Request) -> Resize:
        found, source, blocks = known_map(request.maps[0]), request.emissions[0], self.blocks(op)
        done = super().resize(op, request)
        if not done.constants:
            return done
        whole = source is None or is_full(source, found.shape)
        index = np.arange(blocks.inputs) if source is None or whole else source.ravel()
        kept = np.unique(index // blocks.size)
        constants = dict(done.constants)
        for part in (_WEIGHT, _SCALES, _POINTS):
            if part in constants:
                constants[part] = constants[part][:, kept]
        return replace(done, constants=_stored(op, blocks, constants), attrs={**done.attrs, "K": index.size})

    def kernel(self, op: Op, maps: Maps) -> DenseKernel:
        blocks, bias, rank = self.blocks(op), op.constant(_BIAS), op.in_rank(0)
        if op.is_dynamic(_BIAS) or rank is None:
            raise Refused(Reason.DYNAMIC_PARAMETER, "the bias is computed at run time, or a rank is not known")
        weight = blocks.values()
        if not np.isfinite(blocks.scales).all():
            raise Refused(Reason.UNSUPPORTED_FORM, "a scale is no finite number")
        rows = {_WEIGHT: blocks.content, _SCALES: blocks.scales}
        rows |= {} if blocks.points is None else {_POINTS: blocks.points}
        return DenseKernel(weight, bias, 0, rank - 1, rank - 1, folds=bias is not None, rows=rows, block_in=blocks.size)

    def store(self, op: Op, kernel: DenseKernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        # Rows of padding compute nothing.
        silent = ~(kernel.weight != 0).any(1, keepdims=True)
        constants = dict(kernel.rows)
        constants[_SCALES] = np.where(silent, 0, constants[_SCALES]).astype(constants[_SCALES].dtype)
        if bias_changed and kernel.bias is not None:
            constants[_BIAS] = kernel.bias
        return constants, {"N": kernel.channels_out}


def _blocks(op: Op) -> Blocks:
    outputs, inputs, size = (int(op.attrs.get(name, 0)) for name in ("N", "K", "block_size"))
    bits = int(op.attrs.get("bits", 4))
    content, scales, points = op.constant(_WEIGHT), op.constant(_SCALES), op.constant(_POINTS)
    if content is None or scales is None or op.is_dynamic(_POINTS):
        raise Refused(Reason.DYNAMIC_PARAMETER, "weight, scales or zero points are computed at run time")
    if op.has(_ORDER) or op.attrs.get("weight_prepacked", 0) or bits not in _BITS or min(outputs, inputs, size) < 1:
        raise Refused(Reason.UNSUPPORTED_FORM, f"{bits} bits in blocks of {size}, or inputs in an order of their own")
    count = -(-inputs // size)
    shape = (outputs, count, size * bits // 8)
    if content.shape != shape or content.dtype != np.uint8 or scales.size != outputs * count:
        raise Refused(Reason.UNSUPPORTED_FORM, f"a weight of shape {content.shape} for {outputs} by {inputs}")
    bytes_of_points = -(-count * bits // 8)
    if points is not None and points.dtype == np.uint8 and points.size == outputs * bytes_of_points:
        points = unpacked(points.reshape(outputs, bytes_of_points), bits, count)
    elif points is not None and points.dtype == scales.dtype and points.size == outputs * count:
        points = points.reshape(outputs, count)
    elif points is not None:
        raise Refused(Reason.UNSUPPORTED_FORM, f"zero points of shape {points.shape}")
    return Blocks(bits, size, inputs, content, scales.reshape(outputs, count), points)


def _stored(op: Op, blocks: Blocks, constants: dict[int, Array]) -> dict[int, Array]:
    """The constants in the form in which the node has them."""
    points = constants.get(_POINTS)
    old = op.constant(_POINTS)
    if points is not None and old is not None and old.dtype == np.uint8:
        constants[_POINTS] = packed(points, blocks.bits)
    for index in (_WEIGHT, _SCALES, _POINTS):
        before = op.constant(index)
        if index in constants and before is not None and before.ndim == 1:
            constants[index] = constants[index].ravel()
    return constants


register(MatMulNBits(), "MatMulNBits", domain=RUNTIME_DOMAIN)
