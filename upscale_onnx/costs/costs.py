"""What operators cost on a target: the interface that planners use, and the analytic presets.

Presets are figures of one core; their ratios matter more than their size. Measured tables offer the same
interface with times of this machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from onnx import TensorProto

from upscale_onnx.channels.op import Op
from upscale_onnx.model.operators import CONVOLUTIONS
from upscale_onnx.model.sizes import elements_of, size_of
from upscale_onnx.types import Dims

FLOAT_BYTES = 4
# Groups that fill no blocks are as slow as groups of so many times fewer channels that do (measured on AVX2).
_UNBLOCKED = 4.0
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
        """The time of a Conv, ConvTranspose, Gemm or MatMul with these channel counts in place of its own."""
        ...

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool, itemsize: int = FLOAT_BYTES) -> float:
        """The time of a Slice (`contiguous`) or Gather of `picked` channels of a value of `dims`, with the layout
        changes that it causes. `itemsize`: bytes per element."""
        ...

    def join_ms(self, dims: Dims, axis: int, joined: int, itemsize: int = FLOAT_BYTES) -> float:
        """The time of a Concat along the channel axis into `joined` channels of a value of `dims`, which keeps its
        layout."""
        ...


@dataclass(frozen=True)
class PresetCosts:
    """An analytic model.

    align: channels per block of the kernels. macs_per_ms: multiply-accumulates of a contraction per millisecond.
    bytes_per_ms: bytes that a copy moves per millisecond. layouts: how many times a selection's bytes are moved in all
    (the copy, and the change out of the blocked layout and back). launch_ms: the time to start one kernel.
    free_slices: whether a contiguous selection of channels is a view. batch: the size assumed for a dynamic first axis.
    grouped_speed: the multiply-accumulates per millisecond of groups of a single channel, as a share of those of other
    contractions; wider groups are faster.
    """

    align: int = 16
    macs_per_ms: float = 1.0e8
    bytes_per_ms: float = 1.2e7
    layouts: float = 3.0
    launch_ms: float = 0.002
    free_slices: bool = False
    batch: int = 1
    grouped_speed: float = 1.0

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        """The time to compute whole blocks, or to read the weight where that takes longer (few positions)."""
        found, out = op.weight_shape, op.out_dims[0] if op.out_dims else None
        if found is None or out is None:
            return 0.0
        shape, layout = found
        window = math.prod(shape[2:]) if op.op_type in CONVOLUTIONS else 1
        pairs = float(self._block(channels_out) * self._block(channels_in))
        if layout.group > 1:
            # Groups are removed whole or thinned evenly, and seldom by much: each counts with its original width.
            read, made = layout.per_group(shape)
            pairs = channels_out * read * self.group_factor(made, read % self.align == made % self.align == 0)
        positions = elements_of(out, self.batch) / size_of(out[layout.made_axis])
        return self.launch_ms + pairs * window * max(positions, 16.0) / self.macs_per_ms

    def group_factor(self, made: int, blocked: bool) -> float:
        """How many times as long a multiply-accumulate takes in groups that create `made` channels each. blocked:
        whether they fill the blocks of the kernels."""
        return 1.0 + max(1.0 / self.grouped_speed - 1.0, 0.0) * (1.0 if blocked else _UNBLOCKED) / max(made, 1)

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool, itemsize: int = FLOAT_BYTES) -> float:
        """The time to move the picked bytes once per layout change and once for the copy."""
        if contiguous and self.free_slices:
            return 0.0
        moved = float(itemsize) * picked * elements_of(dims, self.batch) / size_of(dims[axis])
        return self.launch_ms + self.layouts * moved / self.bytes_per_ms

    def join_ms(self, dims: Dims, axis: int, joined: int, itemsize: int = FLOAT_BYTES) -> float:
        """The time to move the joined bytes once."""
        moved = itemsize * joined * elements_of(dims, self.batch) / size_of(dims[axis])
        return self.launch_ms + moved / self.bytes_per_ms

    def _block(self, channels: int) -> int:
        return -(-channels // self.align) * self.align


def own_counts(op: Op) -> tuple[int, int] | None:
    """The channel counts (in, out) of a contraction as it is; None where it has no constant weight."""
    found = op.weight_shape
    return None if found is None else found[1].counts(found[0])


def itemsize(dtype: int) -> int:
    """Bytes per element of an `onnx.TensorProto` data type; those of float32 where the type is not a usual one."""
    return _BYTES.get(dtype, FLOAT_BYTES)
