"""The rule shared by every operator that contracts channels with a constant weight.

Conv, ConvTranspose, Gemm and MatMul differ in the order of their weight's axes. Each rule converts the weight
to one form, a `Kernel`, and back; everything about channels is done once, here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map, vector_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import full_emission, is_full
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.blocks import Block, are_even, blocks_of, runs
from upscale_onnx.channels.rules.in_blocks import check_blocks, in_blocks, with_blocks
from upscale_onnx.channels.rules.kernel import (
    DenseKernel,
    bias_of,
    constant_sums,
    equal,
    finite_or_wild,
    foldable,
    folds,
    is_whole,
    made_of,
    narrow,
    narrow_depthwise,
    nonzero,
    same_kernel,
    window_sums,
)
from upscale_onnx.channels.rules.rows import has_rows, one_row, reading_rows, row_emission
from upscale_onnx.channels.rules.selection import slice_node
from upscale_onnx.errors import Reason
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.types import Array, FloatArray, IntArray


class Contraction(Rule):
    """The base of all rules for operators with a constant weight."""

    data_inputs: int | None = None

    @abstractmethod
    def kernel(self, op: Op, maps: Maps) -> DenseKernel:
        """The node's weight in the common form. Raises `Refused`."""

    @abstractmethod
    def store(self, op: Op, kernel: DenseKernel, bias_changed: bool) -> tuple[Mapping[int, Array], Mapping[str, Any]]:
        """The new constant inputs, by index, and attributes that hold `kernel`."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        kernel = with_blocks(self.kernel(op, maps), op)
        whole = _unaligned(kernel, maps)
        if whole is not None and has_rows(kernel, whole):
            first = self.flow(op, _replaced(maps, kernel.input, one_row(kernel, whole)), fresh)
            return reading_rows(first, kernel, whole)
        if whole is not None:
            return self._reading_whole(op, maps, whole, fresh)
        labels, state = _read_axis(kernel, maps)
        dims = op.in_dims[kernel.input] if kernel.input < len(op.in_dims) else None
        size = None if dims is None else dims[kernel.in_axis]
        if isinstance(size, int) and size != kernel.channels_in:
            # Shape inference is wrong for some operators (STFT of real signals); the weight is right if the model runs.
            raise Refused(Reason.UNSUPPORTED_FORM, f"the weight reads {kernel.channels_in} of {size} inferred channels")
        out_dims = op.out_dims[0] if op.out_dims else None
        rank = len(out_dims) if out_dims is not None else known_map(maps[kernel.input], "the activation").rank
        if kernel.depthwise:
            return _carry(kernel, labels, state, rank)
        return in_blocks(_contract(kernel, labels, state, rank, fresh), kernel)

    def _reading_whole(self, op: Op, maps: Maps, found: ChannelMap, fresh: Fresh) -> Flow:
        """The flow where channels lie on other axes than the contracted one: the node reads all of them, in order,
        even where no result varies. What such a result holds is still known."""
        kernel = self.kernel(op, maps)
        if kernel.depthwise:
            raise Refused(Reason.MIXED_LAYOUT, "channels lie on an axis that is not contracted")
        # Sums over them are those of a value without channels.
        made = self.flow(op, _replaced(maps, kernel.input, _without_channels(found)), fresh)
        read = Read(kernel.input, found.labels.ravel())
        return replace(made, reads=(*made.reads, read), fixed=(*made.fixed, found.labels))

    def resize(self, op: Op, request: Request) -> Resize:
        kernel, choose = with_blocks(self.kernel(op, request.maps), op), request.choose
        found, given = _unaligned(kernel, request.maps), request.emissions[kernel.input]
        if found is not None:
            rows = has_rows(kernel, found)
            if given is None or not (rows or is_full(given, found.shape)):
                raise Misaligned(found.labels)
            instead = one_row(kernel, found) if rows else _without_channels(found)
            maps = _replaced(request.maps, kernel.input, instead)
            emissions = [*request.emissions]
            emissions[kernel.input] = row_emission(kernel, found, given) if rows else full_emission(instead.shape)
            return self.resize(op, replace(request, maps=maps, emissions=tuple(emissions)))
        _, state = _read_axis(kernel, request.maps)
        source = request.emissions[kernel.input]
        whole = source is None or known_map(request.maps[kernel.input], "the activation").shape[kernel.in_axis] == 1
        index_in = np.arange(kernel.channels_in) if whole or source is None else source.ravel()
        target = request.result
        if kernel.depthwise:
            small, index_out = narrow_depthwise(kernel, index_in)
        else:
            out_labels, out_state = target.along(kernel.out_axis, kernel.channels_out)
            index_out = choose.positions(out_labels) if kernel.channels_out > 1 else np.zeros(1, np.int64)
            check_blocks(kernel, index_in, index_out, known_map(request.maps[kernel.input]).labels, out_labels)
            live = choose.live(out_labels)
            asked = request.groups in (None, kernel.group)
            if asked and live.all() and is_whole(index_in, kernel.channels_in) and is_whole(index_out, out_labels.size):
                return Resize((full_emission(target.shape),))
            # A padding channel must hold its constant: readers may have folded this into their bias.
            held = out_state if kernel.made is None else constant_sums(kernel, state)
            settled = np.where(live | ~is_constant(out_state), VARYING, held)
            blocks = blocks_of(kernel, index_in, index_out, state, live, request.groups)

            def cut(some: tuple[Block, ...]) -> DenseKernel:
                return narrow(kernel, some, state, live, settled)

            if not are_even(blocks):
                parts = self._in_parts(op, kernel, [cut(run) for run in runs(blocks)])
                if parts is not None:
                    return Resize((_emission(target, kernel.out_axis, index_out),), replace=parts)
                blocks = ((index_in, index_out),)
            small = cut(blocks)
        outputs = (_emission(target, kernel.out_axis, index_out),)
        if same_kernel(small, kernel):
            return Resize(outputs)
        constants, attrs = self.store(op, small, not equal(small.bias, kernel.bias))
        return Resize(outputs, constants, attrs)

    def _in_parts(self, op: Op, kernel: DenseKernel, parts: Sequence[DenseKernel]) -> tuple[NewNode, ...] | None:
        """One node for each of `parts`, which reads its channels, and the Concat of them; None where the form of the
        node cannot be written so."""
        if op.domain not in STANDARD_DOMAINS:
            return None
        nodes: list[NewNode] = []
        start = 0
        for part in parts:
            constants, attrs = self.store(op, part, True)
            inputs: list[int | Array | NewNode] = []
            for index in range(max(len(op.present), *(other + 1 for other in constants))):
                if index not in constants and not op.has(index):
                    return None
                inputs.append(constants.get(index, index))
            end = start + part.channels_in
            inputs[kernel.input] = slice_node([start], [end], [kernel.in_axis], [1], 0, op.opset, kernel.input)
            start += part.channels_in
            nodes.append(NewNode(op.op_type, tuple(inputs), attrs={**op.attrs, **attrs, "group": part.group}))
        return (NewNode("Concat", tuple(nodes), attrs={"axis": kernel.out_axis}),)


def _emission(target: ChannelMap, axis: int, index: IntArray) -> IntArray:
    """The emission of a result that holds the output channels `index` along `axis`."""
    positions = index if target.shape[axis] > 1 else np.zeros(1, np.int64)
    return positions.reshape([-1 if other == axis else 1 for other in range(target.rank)])


def _unaligned(kernel: DenseKernel, maps: Maps) -> ChannelMap | None:
    """The map of the activation if it has channels on other axes than the contracted one."""
    found = known_map(maps[kernel.input], "the activation")
    return found if any(axis != kernel.in_axis for axis in found.axes) else None


def _without_channels(found: ChannelMap) -> ChannelMap:
    ones = (1,) * found.rank
    state = np.full(ones, WILD if is_wild(found.state).any() else VARYING)
    return ChannelMap(found.labels.reshape(-1)[:1].reshape(ones), state)


def _replaced(maps: Maps, index: int, found: ChannelMap) -> Maps:
    return (*maps[:index], found, *maps[index + 1 :])


def _read_axis(kernel: DenseKernel, maps: Maps) -> tuple[IntArray, FloatArray]:
    """The classes and contents of the channels read, `(C_in,)` each."""
    source = known_map(maps[kernel.input], "the activation")
    if source.shape[kernel.in_axis] not in (1, kernel.channels_in):
        raise Refused(Reason.UNSUPPORTED_FORM, "weight and activation disagree about the channel count")
    labels, state = source.along(kernel.in_axis, kernel.channels_in)
    return labels, state - kernel.zero


def _contract(kernel: DenseKernel, labels: IntArray, state: FloatArray, rank: int, fresh: Fresh) -> Flow:
    targets = fresh(kernel.channels_out)
    per_out, per_in = kernel.channels_out // kernel.group, kernel.channels_in // kernel.group
    pattern = nonzero(kernel.weight)
    content = np.empty(kernel.channels_out)
    folded = foldable(kernel, state)
    reads = []
    sums: FloatArray | None = None
    if (folded & (state != 0)).any():
        sums = window_sums(kernel.weight)
    for group in range(kernel.group):
        rows, columns = slice(group * per_out, (group + 1) * per_out), slice(group * per_in, (group + 1) * per_in)
        reading, inner = pattern[rows], state[columns]
        # Zero times infinity is not zero: a channel that may be infinite is read by every row.
        wild = is_wild(inner)
        if wild.any():
            reading = reading | wild
        needed = ~folded[columns]
        depends = reading.any(1) if needed.all() else reading[:, needed].any(1)
        values = bias_of(kernel)[rows]
        if sums is not None:
            with np.errstate(invalid="ignore", over="ignore"):
                values = values + sums[rows] @ np.where(folded[columns], inner, 0.0)
        content[rows] = np.where(depends & np.isfinite(values), VARYING, finite_or_wild(values))
        if wild.any():
            content[rows] = WILD
        reads.append(Read(kernel.input, labels[columns], targets[rows], reading, None, folded[columns]))
    if not kernel.is_finite:
        finite = np.isfinite(kernel.weight).reshape(kernel.channels_out, -1).all(1)
        content = np.where(finite, content, WILD)
    if kernel.group == 1:
        reads = [replace(reads[0], axis=kernel.in_axis)]
    out = vector_map(targets, made_of(kernel, content), rank, kernel.out_axis)
    made = Flow((out,), reads=tuple(reads), creates=True, role=Role.CONTRACTION)
    if kernel.group == 1:
        return made
    even = Even((labels.reshape(kernel.group, -1), targets.reshape(kernel.group, -1)))
    return replace(made, evens=(even,), fixed=(labels, targets))


def _carry(kernel: DenseKernel, labels: IntArray, state: FloatArray, rank: int) -> Flow:
    """The flow of a depthwise kernel: every input channel becomes `multiplier` output channels of its class."""
    multiplier = kernel.channels_out // kernel.group
    inner = np.repeat(state, multiplier)
    folded = folds(kernel, inner)
    reading = nonzero(kernel.weight)[:, 0]
    values = bias_of(kernel) + np.where(folded & (inner != 0), window_sums(kernel.weight)[:, 0], 0.0) * np.where(
        folded, inner, 0.0
    )
    content = np.where(reading & ~folded & np.isfinite(bias_of(kernel)), VARYING, finite_or_wild(values))
    wild = is_wild(inner) | ~np.isfinite(kernel.weight).reshape(kernel.channels_out, -1).all(1)
    content = np.where(wild, WILD, content)
    if labels.size > 1 and (labels == labels[0]).all():
        # The activation has no channel axes (a graph input, say), so the result has none.
        shape = (1,) * rank
        out = ChannelMap(labels[:1].reshape(shape), np.full(shape, WILD if wild.any() else VARYING))
    else:
        out = vector_map(np.repeat(labels, multiplier), made_of(kernel, content), rank, kernel.out_axis)
    return Flow((out,), role=Role.CONTRACTION)
