"""Weights of MatMulNBits as floating-point ones, and zeros written into them: of outputs, and of blocks of inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from upscale_onnx.masks.number_grid import NumberGrid
from upscale_onnx.model.packing import packed, unpacked
from upscale_onnx.types import Array, BoolArray

_BITS = (2, 4, 8)


@dataclass(frozen=True, eq=False)
class FewBits:
    """A weight of N outputs and K inputs, in integers of `bits` bits and blocks of `size` inputs.

    steps: `(N, blocks, size)`. zero, scale: `(N, blocks)`.
    """

    bits: int
    size: int
    inputs: int
    steps: Array
    zero: Array
    scale: Array

    @classmethod
    def of(cls, node: NodeProto, tensors: Mapping[str, TensorProto]) -> FewBits | None:
        """The weight of a MatMulNBits; None where it is not constant, or has another form."""
        attrs = {attribute.name: attribute.i for attribute in node.attribute}
        outputs, inputs, size = (attrs.get(name, 0) for name in ("N", "K", "block_size"))
        bits, names = attrs.get("bits", 4), [*node.input[1:4], "", ""][:3]
        if bits not in _BITS or min(outputs, inputs, size) < 1 or any(name and name not in tensors for name in names):
            return None
        held = [numpy_helper.to_array(tensors[name]) if name else None for name in names]
        content, scale, point = held
        count = -(-inputs // size)
        shape = (outputs, count, size * bits // 8)
        if content is None or scale is None or content.shape != shape or scale.size != outputs * count:
            return None
        zero = np.full((outputs, count), 1 << bits - 1, np.uint8)
        if point is not None:
            width = -(-count * bits // 8)
            if point.dtype != np.uint8 or point.size != outputs * width:
                return None
            zero = unpacked(point.reshape(outputs, width), bits, count)
        return cls(bits, size, inputs, unpacked(content, bits, size), zero, scale.reshape(outputs, count))

    @property
    def values(self) -> Array:
        """The weight `(K, N)`."""
        made = (self.steps.astype(np.float32) - self.zero[..., None]) * self.scale[..., None].astype(np.float32)
        weight: Array = made.reshape(len(made), -1)[:, : self.inputs].T
        return np.ascontiguousarray(weight)

    @property
    def content(self) -> Array:
        """The bytes of the weight, `(N, blocks, bytes)`."""
        return packed(self.steps, self.bits)

    def holding(self, values: Array, widen: bool) -> FewBits:
        """The weight with the nearest numbers to `values` `(K, N)`. widen: whether scales grow where values are out of
        range."""
        missing = self.steps.shape[1] * self.size - self.inputs
        blocks = np.pad(values.T, [(0, 0), (0, missing)]).reshape(self.steps.shape)
        dtype, zero = self.steps.dtype, self.zero[..., None].astype(np.float64)
        grid = NumberGrid(self.scale[..., None], zero, dtype, 0, (1 << self.bits) - 1)
        grid = grid.widened(blocks) if widen else grid
        return replace(self, steps=grid.stored(blocks), scale=grid.scale[..., 0])

    def emptied(self, gone: BoolArray) -> FewBits:
        """The weight with zeros in the entries `gone` `(K, N)`."""
        missing = self.steps.shape[1] * self.size - self.inputs
        entries = np.pad(gone.T, [(0, 0), (0, missing)]).reshape(self.steps.shape)
        return replace(self, steps=np.where(entries, self.zero[..., None], self.steps))

    def without(self, gone: BoolArray) -> FewBits:
        """The weight without the entries `gone` `(K, N)`: without outputs of which all are, and without as many whole
        blocks as there are inputs of which all are. Those that lose the most, and then the smallest, go."""
        steps, whole = self.steps.copy(), np.broadcast_to(self.zero[..., None], self.steps.shape)
        rows = gone.all(0)
        steps[rows] = whole[rows]
        inputs = np.asarray(gone[:, ~rows].all(1) & (not rows.all()), np.bool_)
        blocks = self._blocks(inputs)
        steps[:, blocks] = whole[:, blocks]
        return replace(self, steps=steps)

    def _blocks(self, inputs: BoolArray) -> Array:
        """The blocks that go for these inputs."""
        starts = np.arange(0, self.inputs, self.size)
        lost = np.add.reduceat(inputs.astype(np.int64), starts)
        norms = np.add.reduceat(np.square(self.values).sum(1), starts)
        order = np.lexsort((norms, -lost))
        return order[: int(inputs.sum()) // self.size]
