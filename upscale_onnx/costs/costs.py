"""What operators cost on a target: the interface that planners use, and the analytic presets.

Presets are figures of one core; their ratios matter more than their size. Measured tables give the same
interface with times of the machine at hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from onnx import TensorProto

from upscale_onnx.channels.op import Op
from upscale_onnx.types import Array, Dims

FLOAT_BYTES = 4
_BYTES: Mapping[int, int] = {
    TensorProto.DOUBLE: 8,
    TensorProto.INT64: 8,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
}


class Costs(Protocol):
    """Times in milliseconds. `align` is the channel count that the target's kernels work in."""

    @property
    def align(self) -> int: ...

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        """One Conv, ConvTranspose, Gemm or MatMul with these channel counts in place of its own."""
        ...

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool, itemsize: int = FLOAT_BYTES) -> float:
        """A Slice (`contiguous`) or Gather of `picked` channels of a value of `dims`, with the layout
        changes that it brings about. `itemsize`: bytes an element."""
        ...

    def join_ms(self, dims: Dims, axis: int, joined: int, itemsize: int = FLOAT_BYTES) -> float:
        """A Concat along the channel axis into `joined` channels of a value of `dims`, in the layout that it has."""
        ...


@dataclass(frozen=True)
class PresetCosts:
    """An analytic model.

    align: channels per block of the kernels. macs_per_ms: multiply-accumulates of a contraction.
    bytes_per_ms: what one copy moves. layouts: how often a selection's bytes move in all (the copy, and
    the way out of a blocked layout and back). launch_ms: what starting one kernel costs.
    free_slices: whether a contiguous selection of channels is a view. batch: what a dynamic first axis counts as.
    """

    align: int = 16
    macs_per_ms: float = 1.0e8
    bytes_per_ms: float = 1.2e7
    layouts: float = 3.0
    launch_ms: float = 0.002
    free_slices: bool = False
    batch: int = 1

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        """Arithmetic of whole blocks, or the weight's own bytes where there are few positions."""
        right = op.constant(1)
        weight = op.constant(0) if right is None else right
        out = op.out_dims[0] if op.out_dims else None
        if weight is None or out is None:
            return 0.0
        window = float(np.prod(weight.shape[2:])) if "Conv" in op.op_type else 1.0
        pairs = self._block(channels_out) * (_group_width(op, weight) or self._block(channels_in))
        from_left = op.op_type == "MatMul" and right is None
        axis = 1 if "Conv" in op.op_type or op.op_type == "Gemm" else len(out) - (2 if from_left else 1)
        positions = elements(out, self.batch) / max(size(out[axis]), 1)
        return self.launch_ms + float(pairs * window * max(positions, 16.0)) / self.macs_per_ms

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool, itemsize: int = FLOAT_BYTES) -> float:
        """Bytes picked, moved once per layout change and once for the copy."""
        if contiguous and self.free_slices:
            return 0.0
        moved = float(itemsize) * picked * elements(dims, self.batch) / max(size(dims[axis]), 1)
        return self.launch_ms + self.layouts * moved / self.bytes_per_ms

    def join_ms(self, dims: Dims, axis: int, joined: int, itemsize: int = FLOAT_BYTES) -> float:
        """Bytes joined, moved once."""
        moved = itemsize * joined * elements(dims, self.batch) / max(size(dims[axis]), 1)
        return self.launch_ms + moved / self.bytes_per_ms

    def _block(self, channels: int) -> int:
        return -(-channels // self.align) * self.align


def _group_width(op: Op, weight: Array) -> int:
    """Channels that an output of a grouped convolution reads, 0 where there is one group.

    Groups are removed whole or thinned evenly, and seldom thinned much: they count with their own width.
    """
    group = int(op.attrs.get("group", 1)) if "Conv" in op.op_type else 1
    if group <= 1:
        return 0
    return int(weight.shape[1]) if op.op_type == "Conv" else max(int(weight.shape[0]) // group, 1)


def itemsize(dtype: int) -> int:
    """Bytes an element of an `onnx.TensorProto` data type; those of a float32 where it is none of the usual ones."""
    return _BYTES.get(dtype, FLOAT_BYTES)


def elements(dims: Dims, batch: int = 1) -> float:
    """How many elements a value of these dimensions has; unknown ones count as 1, as the first axis as `batch`."""
    return float(math.prod(size(dim, batch if axis == 0 else 1) for axis, dim in enumerate(dims)))


def size(dim: object, unknown: int = 1) -> int:
    """A dimension as a number; unknown ones count as `unknown`."""
    return dim if isinstance(dim, int) and dim > 0 else unknown
