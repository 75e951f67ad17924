"""All operators that work element by element, with broadcasting: unary, binary, Where, Clip, Sum …

The operand with the most channel axes (the *full* one) gives the result its classes. Operands with a map of
the same shape are tied to it. An operand that is broadcast along a channel axis is read by the classes there.
Constants are cut to fit.
"""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap, Wild, known_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import is_full, take
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.room import check_room
from upscale_onnx.channels.rules.broadcast import (
    all_stay,
    broadcast_operand,
    common_merged,
    common_shape,
    lift,
    open_axes,
    operand_rank,
    row_axis,
    selected_axis,
    vector_shape,
)
from upscale_onnx.channels.rules.contents import pointwise_content
from upscale_onnx.channels.rules.copies import copies_of
from upscale_onnx.channels.rules.infinities import wild_of
from upscale_onnx.channels.rules.levels import pointwise_levels, with_levels
from upscale_onnx.channels.rules.outer import crossing, lacks, without_channels
from upscale_onnx.channels.rules.selected_operands import selected
from upscale_onnx.errors import Reason
from upscale_onnx.model.operators import BROADCASTING, FRAGILE, UNARY
from upscale_onnx.model.runtime_operators import FUSED_ELEMENTWISE, RUNTIME_DOMAIN
from upscale_onnx.types import Array, FloatArray, IntArray


class Elementwise(Rule):
    """The rule of inputs that broadcast to one output. Absent optional inputs are skipped."""

    merged_axes = True

    def __init__(self, operands: int | None = None) -> None:
        # Inputs beyond these are parameters without channels (bounds, ratios, types).
        self.data_inputs = operands

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        if op.op_type == "Dropout" and _trains(op):
            raise Refused(Reason.UNSUPPORTED_FORM, "dropout in training mode")
        indices = self._dynamic(op, maps)
        connected = self._connected(op)
        rank = max(operand_rank(op, index) for index in connected)
        if len(connected) == 1:
            return self._of_one(op, indices[0], known_map(maps[indices[0]]))
        lifted = {index: lift(known_map(maps[index], "an operand"), rank) for index in indices}
        # Where a zero divides, what holds some zeros may make infinities of any channel.
        crossed = frozenset[int]() if op.op_type in FRAGILE else crossing(lifted)
        lifted |= {index: without_channels(lifted[index]) for index in crossed}
        shape = common_shape(list(lifted.values()), rank)
        merged = common_merged(op, lifted, self._connected(op), rank)
        vector = None if any(size > 1 for size in shape) else vector_shape(op, indices, rank)
        if vector is not None:
            content = self._content(op, lifted, vector)
            made = ChannelMap(fresh(int(np.prod(vector))).reshape(vector), content, wild=self._wild(op, lifted))
            taken = tuple(Read(index, lifted[index].labels.ravel(), made.labels.ravel()) for index in indices)
            return Flow((made,), (), taken, fragile=self._fragile(op, made.labels), role=Role.POINTWISE)
        lifted, born = open_axes(op, lifted, shape, merged, fresh)
        full = [index for index in indices if lifted[index].shape == shape]
        if not full:
            raise Refused(Reason.MIXED_LAYOUT, "no operand has all channel axes of the result")
        labels = lifted[full[0]].labels
        ties = tuple((labels, lifted[index].labels) for index in full[1:])
        given = {index: known_map(maps[index], "an operand") for index in born}
        whole = {i: grown for i, grown in born.items() if selected_axis(op, i, lift(given[i], rank), shape) is None}
        reads = [Read(index, found.labels.ravel()) for index, found in given.items()]
        reads += [Read(index, grown.ravel()) for index, grown in whole.items()]
        evens: list[Even] = []
        for index in indices:
            if index in crossed - born.keys():
                reads.append(Read(index, known_map(maps[index]).labels.ravel(), labels.ravel()))
            elif index not in full:
                by_row = index in born and merged is None
                row = row_axis(op, index, lift(given[index], rank), shape) if by_row else None
                read, even = broadcast_operand(index, lifted[index], labels, row is not None)
                reads.append(read)
                evens.extend(even)
        if merged is not None and any(
            array is not None and array.size > 1 for array in map(op.constant, self._connected(op))
        ):
            # Along a merged axis a constant has one row for all channels, so that these must keep the same entries.
            evens.append(Even((labels.reshape([size for size in shape if size > 1]),), aligned=True))
        if all_stay(op, lifted, merged, rank):
            reads.append(Read(full[0], labels.ravel()))
        content = self._content(op, lifted, shape)
        copies = None if crossed else copies_of(op, {index: known_map(maps[index]) for index in indices}, content)
        out = ChannelMap(labels, content, wild=self._wild(op, lifted), merged=merged, copies=copies)
        if not crossed and merged is None:
            out = with_levels(out, pointwise_levels(op, lifted, self._connected(op), rank))
        fragile = self._fragile(op, labels)
        fixed = tuple(whole.values()) + tuple(even.parts[0] for even in evens if len(even.parts) == 1)
        fixed += tuple(known_map(maps[index]).labels for index in crossed)
        return Flow((out,), ties, tuple(reads), tuple(evens), fixed, fragile=fragile, role=Role.POINTWISE)

    def _of_one(self, op: Op, index: int, found: ChannelMap) -> Flow:
        """The flow of a node with a single operand, whose classes the result has."""
        check_room(*found.shape)
        operands = {index: found}
        content = self._content(op, operands, found.shape)
        copies = copies_of(op, operands, content)
        out = ChannelMap(found.labels, content, wild=self._wild(op, operands), merged=found.merged, copies=copies)
        if found.merged is None:
            out = with_levels(out, pointwise_levels(op, operands, [index], found.rank))
        return Flow((out,), fragile=self._fragile(op, found.labels), role=Role.POINTWISE)

    def _content(self, op: Op, lifted: dict[int, ChannelMap], shape: tuple[int, ...]) -> FloatArray:
        return pointwise_content(op, lifted, self._connected(op), shape)

    def _wild(self, op: Op, lifted: dict[int, ChannelMap]) -> Wild:
        return wild_of(op, lifted, self._connected(op))

    def _fragile(self, op: Op, labels: IntArray) -> tuple[IntArray, ...]:
        return (labels,) if op.op_type in FRAGILE and not _safe_divisor(op) else ()

    def resize(self, op: Op, request: Request) -> Resize:
        result, emission = request.result, self._emission(op, request)
        if is_full(emission, result.shape):
            return Resize((emission,))
        constants, computed = {}, {}
        for index in self._connected(op):
            constant = op.constant(index)
            if constant is None:
                computed.update(selected(op, index, request, emission))
                continue
            small = take(constant, emission, result.shape)
            if result.merged is not None and _size(small, result.merged.axis - result.rank) > 1:
                raise Misaligned(result.labels)
            if small is not constant:
                constants[index] = small
        return Resize((emission,), constants, computed=computed)

    def _connected(self, op: Op) -> list[int]:
        count = len(op.present) if self.data_inputs is None else min(self.data_inputs, len(op.present))
        return [index for index in range(count) if op.has(index)]

    def _dynamic(self, op: Op, maps: Maps) -> list[int]:
        indices = [index for index in self._connected(op) if not op.is_constant(index)]
        if not indices or any(maps[index] is None for index in indices):
            raise Refused(Reason.UNKNOWN_SHAPE, "rank of an operand is not known")
        return indices

    def _emission(self, op: Op, request: Request) -> IntArray:
        """The emission on which the operands agree. An operand that lacks some channel axes is broadcast along them."""
        maps, result = request.maps, request.result
        if result.labels.size > 1 and all(known_map(maps[i]).labels.size == 1 for i in self._dynamic(op, maps)):
            # Constants alone give the result its channels.
            chosen = request.choose.positions(result.labels.ravel())
            return chosen.reshape([-1 if size > 1 else 1 for size in result.shape])
        found: IntArray | None = None
        partial: list[tuple[IntArray, tuple[int, ...]]] = []
        for index in self._dynamic(op, maps):
            lifted = lift(known_map(maps[index], "an operand"), result.rank)
            given = request.emissions[index]
            if given is None:
                raise Misaligned(result.labels)
            given = given.reshape((1,) * (result.rank - given.ndim) + given.shape)
            if lacks(lifted.shape, result.shape):
                if not is_full(given, lifted.shape):
                    raise Misaligned(lifted.labels)
                continue
            if lifted.shape != result.shape:
                partial.append((given, lifted.shape))
                continue
            if found is not None and not (found.shape == given.shape and np.array_equal(found, given)):
                raise Misaligned(result.labels, lifted.labels)
            found = given
        if found is None:
            found = np.arange(result.labels.size, dtype=np.int64).reshape(result.shape)
        for given, shape in partial:
            reached = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), result.shape)
            wanted = reached.ravel()[found]
            fits = all(g == 1 or g == f for g, f in zip(given.shape, found.shape, strict=True))
            if not fits or not np.array_equal(np.broadcast_to(given, found.shape), wanted):
                raise Misaligned(result.labels)
        return found


def _size(array: Array, axis: int) -> int:
    """The size along an axis that is counted from the last one; 1 for axes that the array lacks."""
    return array.shape[axis] if -axis <= array.ndim else 1


def _trains(op: Op) -> bool:
    """Whether a Dropout may drop anything."""
    if op.opset < 7:
        return not op.attrs.get("is_test", 0)
    return op.has(2) and (not op.is_constant(2) or bool(np.any(op.constant(2))))


def _safe_divisor(op: Op) -> bool:
    return op.divides_safely or (op.op_type in ("Div", "Mod") and op.is_constant(1))


register(Elementwise(1), *UNARY, "Dropout")
register(Elementwise(), *BROADCASTING)
register(Elementwise(), *sorted(FUSED_ELEMENTWISE), domain=RUNTIME_DOMAIN)
