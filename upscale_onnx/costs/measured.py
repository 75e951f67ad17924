"""Costs from measured tables, with the interface that planners use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.op import Op
from upscale_onnx.costs.costs import FLOAT_BYTES
from upscale_onnx.costs.tables import Tables
from upscale_onnx.model.kernels import kernel_key
from upscale_onnx.model.sizes import sizes_of
from upscale_onnx.model.workloads import PLAIN, Workload, contraction_workload, conv_layout
from upscale_onnx.types import Dims


@dataclass(frozen=True)
class MeasuredCosts:
    """Times measured on this machine. For a shape that was not measured, the preset's time, scaled to agree with the
    measured ones.

    batch: the size assumed for a dynamic first axis.
    """

    tables: Tables
    batch: int = 1

    @property
    def align(self) -> int:
        """Channels per block of the kernels for the type that the model computes in."""
        return self.tables.target.block()

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        """The time of one contraction with these channel counts, in the layout that the runtime would choose."""
        if channels_in <= 0 or channels_out <= 0:
            return 0.0
        workload = op_workload(op, channels_in, channels_out, self.tables, self.batch)
        if workload is None:
            return self.tables.target.preset.contraction_ms(op, channels_in, channels_out)
        return self.tables.contraction_ms(workload, channels_in, channels_out) + self.tables.node_ms

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool, itemsize: int = FLOAT_BYTES) -> float:
        """The time of a selection of `picked` channels of a value of `dims`. From the blocked layout, this includes
        reordering the whole value out of it and the picked channels back into it."""
        target = self.tables.target
        if contiguous and target.preset.free_slices:
            return 0.0
        sizes = sizes_of(dims, self.batch)
        if not sizes:
            return 0.0
        full = itemsize * math.prod(sizes)
        part = itemsize * math.prod((*sizes[:axis], picked, *sizes[axis + 1 :]))
        nodes = [("Slice" if contiguous else "Gather", full + part)]
        # Only float32 is computed in the blocked layout.
        if itemsize == FLOAT_BYTES and self._blocked(sizes, axis):
            nodes += [("ReorderOutput", 2 * full), ("ReorderInput", 2 * part)]
        return sum(self.tables.move_ms(kernel_key(op, sizes, {}), moved) + self.tables.node_ms for op, moved in nodes)

    def join_ms(self, dims: Dims, axis: int, joined: int, itemsize: int = FLOAT_BYTES) -> float:
        """The time of a Concat into `joined` channels, which reads and writes each of them."""
        sizes = sizes_of((*dims[:axis], joined, *dims[axis + 1 :]), self.batch)
        moved = 2 * itemsize * math.prod(sizes) if joined else 0
        return self.tables.move_ms(kernel_key("Concat", sizes, {}), moved) + self.tables.node_ms

    def _blocked(self, sizes: Sequence[int], axis: int) -> bool:
        return self.tables.target.provider == "cpu" and len(sizes) == 4 and axis == 1


def op_workload(op: Op, channels_in: int, channels_out: int, tables: Tables, batch: int = 1) -> Workload | None:
    """The workload of an analysed contraction with these channel counts; None for forms not understood."""
    found = op.weight_shape
    if found is None:
        return None
    shape, lies = found
    data = 1 - lies.operand
    if data >= len(op.in_dims) or op.in_dims[data] is None:
        return None
    sizes = sizes_of(op.in_dims[data] or (), batch)
    if lies.operand == 0:  # a constant times an activation: the transposed product
        sizes = (*sizes[:-2], sizes[-1], sizes[-2]) if len(sizes) > 1 else ()
    dtype = op.dtype(data)
    layout = PLAIN
    if op.op_type == "Conv" and len(shape) == 4 and dtype == np.float32 and tables.target.provider == "cpu":
        # Groups keep their width: with fewer channels there are fewer groups.
        group = 1 if lies.group <= 1 else max(channels_in // lies.per_group(shape)[0], 1)
        layout = conv_layout(channels_in, channels_out, group, tables.target.block(dtype.name))
    return contraction_workload(op.op_type, op.attrs, sizes, shape, layout, dtype.name)
