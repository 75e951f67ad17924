"""Contractions whose weight has a scale for each block of channels: a block stays or goes as a whole, since in other
blocks its entries would have other scales."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import known_map
from upscale_onnx.channels.flow import Even, Flow, Misaligned, Read
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.kernel import DenseKernel
from upscale_onnx.errors import Reason
from upscale_onnx.model.contractions import weight_layout
from upscale_onnx.types import BoolArray, IntArray


def with_blocks(kernel: DenseKernel, op: Op) -> DenseKernel:
    """The kernel of a node with the blocks in which its weight is quantised. Raises `Refused` for several groups."""
    operand = next((index for index, blocks in enumerate(op.blocks) if blocks is not None), None)
    if operand is None or (blocks := op.blocks[operand]) is None:
        return kernel
    layout = weight_layout(op.op_type, op.attrs, op.in_rank(operand) or 0, operand)
    if layout is None or kernel.group > 1:
        raise Refused(Reason.UNSUPPORTED_FORM, "several groups, or no weight, in blocks")
    axis, size = blocks
    return replace(
        kernel,
        block_in=size if axis == layout.input_axis else kernel.block_in,
        block_out=size if axis == layout.output_axis else kernel.block_out,
    )


def in_blocks(flow: Flow, kernel: DenseKernel) -> Flow:
    """The flow of a kernel, with its blocks of channels read and made kept whole and in order."""
    targets = known_map(flow.outputs[0]).labels.ravel()
    if kernel.block_in > 1:
        flow = _read_in_blocks(flow, kernel.block_in)
    if kernel.block_out == 1:
        return flow
    # All outputs of a block are computed, as none may be zeroed beside others.
    index, starts = flow.reads[0].input, range(0, targets.size, kernel.block_out)
    rows = [targets[start : start + kernel.block_out] for start in starts]
    flow = replace(flow, reads=(*flow.reads, *(Read(index, row, row) for row in rows)))
    return _bound(flow, targets, kernel.block_out)


def check_blocks(
    kernel: DenseKernel, index_in: IntArray, index_out: IntArray, labels: IntArray, out_labels: IntArray
) -> None:
    """Check that the channels left, of classes `labels` and `out_labels`, are whole blocks, in order.

    Raises: Misaligned where they are not.
    """
    if not _are_whole(index_in, kernel.block_in, kernel.channels_in):
        raise Misaligned(labels)
    if not _are_whole(index_out, kernel.block_out, kernel.channels_out):
        raise Misaligned(out_labels)


def _are_whole(index: IntArray, block: int, count: int) -> bool:
    if block == 1:
        return True
    places = (np.unique(index // block)[:, None] * block + np.arange(block)).ravel()
    return np.array_equal(index, places[places < count])


def _read_in_blocks(flow: Flow, block: int) -> Flow:
    read = flow.reads[0]
    assert read.known is not None
    pattern = read.known.entries()
    wanted = pattern if read.foldable is None else pattern & ~read.foldable
    read = replace(read, pattern=_any_in_block(wanted, block), foldable=None)
    return _bound(replace(flow, reads=(read, *flow.reads[1:])), read.sources, block)


def _bound(flow: Flow, labels: IntArray, block: int) -> Flow:
    """The flow with the classes of each block kept together. The last block may be smaller than the others."""
    whole = labels.size // block * block
    evens = (Even((labels[:whole].reshape(-1, block),)),) if whole else ()
    last = labels[whole:]
    reads = (Read(flow.reads[0].input, last, last),) if last.size else ()
    return replace(flow, reads=(*flow.reads, *reads), evens=(*flow.evens, *evens), fixed=(*flow.fixed, labels))


def _any_in_block(pattern: BoolArray, block: int) -> BoolArray:
    """The pattern of outputs that read a whole block if they read any input of it."""
    outputs, inputs = pattern.shape
    padded = np.pad(pattern, ((0, 0), (0, -inputs % block))).reshape(outputs, -1, block)
    return np.repeat(padded.any(-1), block, axis=1)[:, :inputs]
