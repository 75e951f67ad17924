"""Softmax, LogSoftmax, Hardmax, Reduce*, ArgMax and ArgMin: along the channel axis they read all channels; along
other axes they are carriers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, Wild, is_constant, is_wild, known_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Rule
from upscale_onnx.channels.grid import coordinates, rows_over
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.levels import is_level
from upscale_onnx.channels.rules.reduced_rows import SUMS, folded_emission, reduced_rows, resized_rows
from upscale_onnx.errors import Reason
from upscale_onnx.types import BoolArray, IntArray

_KEEP_ANY = ("ReduceMean", "ReduceMax", "ReduceMin")
_AXES_ARE_AN_INPUT = 18  # the first version of ReduceMean of which this is true
_EXTREMES = {"ReduceMax": "Max", "ReduceMin": "Min"}
_HALVES = 12  # the first version of Max and Min that runtimes have for half precision
# A normalisation of separate nodes that makes up for channels takes about as long as two in one node, as which runtimes
# compute it otherwise. That pays where at least this share of its channels, and of the layers around it, leaves.
WORTH = 1 / 8
_KEEP_ZERO = ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd")


class Softmax(Rule):
    """Softmax, LogSoftmax and Hardmax over `axis`; before opset 13, over all axes from `axis` on."""

    merged_axes = True

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        axis = op.axis("axis", -1 if op.opset >= 13 else 1, found.rank)
        over = [axis] if op.opset >= 13 else list(range(axis, found.rank))
        wild = is_wild(found.state)
        hit = [a for a in found.axes if a in over]
        if found.merged is not None and found.merged.axis in hit:
            raise Refused(Reason.DYNAMIC_AXIS, "channels along the axis are merged with a dynamic one")
        if found.wild is Wild.MASKED and op.op_type == "Softmax" and over == [found.rank - 1] and not hit:
            wild = np.zeros(found.shape, bool)
        if hit:
            wild = np.broadcast_to(wild.any(tuple(hit), keepdims=True), found.shape)
        # Shares of a sum of powers lie between 0 and 1, or are all NaN.
        kind = Wild.UNDEFINED if op.op_type == "Softmax" else Wild.ANYTHING
        out = replace(found.with_state(np.where(wild, WILD, VARYING)), wild=kind)
        # Hardmax breaks ties by position, so the order must stay.
        fixed = (found.labels.ravel(),) if op.op_type == "Hardmax" and hit else ()
        return Flow((out,), reads=row_reads(found, hit), fixed=fixed)


def row_reads(found: ChannelMap, hit: list[int]) -> tuple[Read, ...]:
    """The reads of an operator that computes each channel from all those that differ from it along the axes `hit`."""
    return tuple(Read(0, row, row) for row in rows_over(found.labels, hit)) if hit else ()


class Reduce(Rule):
    """Reduce* over constant axes (an attribute, or an input in newer opsets)."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        axes = _axes(op, found.rank)
        keep = bool(op.attrs.get("keepdims", 1))
        hit = [axis for axis in found.axes if axis in axes]
        if hit and len(hit) < len(found.axes):
            made = reduced_rows(op, found, hit, fresh)
            return replace(made, outputs=(_drop_axes(known_map(made.outputs[0]), axes, keep),))
        if not hit:
            out = _drop_axes(found.with_state(_content(op, found)), axes, keep)
            # The logarithm of a sum of zeros is infinite.
            return Flow((out,), fragile=(found.labels,) if op.op_type == "ReduceLogSum" else ())
        target = fresh(1)
        shape = (1,) * (found.rank if keep else found.rank - len(axes))
        wild = is_wild(found.state).any()
        out = ChannelMap(target.reshape(shape), np.full(shape, WILD if wild else VARYING))
        return Flow((out,), reads=(Read(0, found.labels.ravel(), target, foldable=_left_out(op, found)),))

    def resize(self, op: Op, request: Request) -> Resize:
        (found, emission), result = request.first_input(), request.result
        axes = _axes(op, found.rank)
        hit = [axis for axis in found.axes if axis in axes]
        if hit and len(hit) == len(found.axes):
            whole = np.zeros(result.shape, np.int64)
            if not 0 < emission.size < found.labels.size or op.op_type in SUMS:
                return Resize((whole,))
            return Resize((whole,), replace=(_made_up(op, found, emission),))
        resized = resized_rows(op, found, emission, hit) if hit else Resize((emission,))
        if op.attrs.get("keepdims", 1):
            return resized
        (made,) = resized.outputs
        return replace(resized, outputs=(made.reshape([s for a, s in enumerate(made.shape) if a not in axes]),))


def _left_out(op: Op, found: ChannelMap) -> BoolArray | None:
    """The channels, `(n,)`, that a reduction over all of them can do without; None where there are none."""
    zeros: BoolArray = (found.state == 0).ravel()
    if op.op_type in SUMS:
        return zeros
    if op.op_type == "ReduceMean" and found.copies is not None and found.copies.where.mean() >= WORTH:
        zeros = zeros | found.copies.where.ravel()
    if op.op_type == "ReduceMean" and found.levels is not None and is_level(found).mean() >= WORTH:
        zeros = zeros | is_level(found).ravel()
    exact = op.op_type == "ReduceMean" or (op.op_type in _EXTREMES and not is_wild(found.state).any())
    known = exact and _computes(op, _EXTREMES.get(op.op_type))
    return zeros if known and zeros.any() and not zeros.all() else None


def _computes(op: Op, other: str | None) -> bool:
    """Whether the operator `other`, if any, can be computed in the type of the input."""
    return np.dtype(op.dtype(0)).kind == "f" and (not other or op.opset >= _HALVES or op.dtype(0) == np.float32)


def _made_up(op: Op, found: ChannelMap, emission: IntArray) -> NewNode:
    """The nodes in place of a reduction over all channels, some of which have left: zeros and copies."""
    rest = (1,) if op.has(1) else ()
    result, dtype = NewNode(op.op_type, (0, *rest), attrs=op.attrs), op.dtype(0)
    if op.op_type in _EXTREMES:
        return NewNode(_EXTREMES[op.op_type], (result, np.zeros((), dtype)))
    result = NewNode("Mul", (result, np.asarray(emission.size / found.labels.size, dtype)))
    if found.levels is not None:
        gone, keep = is_level(found), bool(op.attrs.get("keepdims", 1))
        gone.flat[emission] = False
        known = np.where(gone, found.levels, 0).mean(tuple(_axes(op, found.rank)), keepdims=keep)
        result = NewNode("Add", (result, known.astype(dtype)))
    if found.copies is None:
        return result
    missing = found.copies.where.copy()
    missing.flat[emission] = False
    if not missing.any():
        return result
    one = found.copies.value
    if not op.attrs.get("keepdims", 1) or len(_axes(op, found.rank)) > len(found.axes):
        one = NewNode(op.op_type, (one, *rest), attrs=op.attrs)
    return NewNode("Add", (result, NewNode("Mul", (one, np.asarray(missing.mean(), dtype)))))


def mean_over(op: Op, operand: int | NewNode, axes: list[int]) -> NewNode:
    """The mean of an operand over `axes`, which stay, with size 1."""
    if op.onnx_opset < _AXES_ARE_AN_INPUT:
        return NewNode("ReduceMean", (operand,), attrs={"axes": axes, "keepdims": 1})
    return NewNode("ReduceMean", (operand, np.asarray(axes, np.int64)), attrs={"keepdims": 1})


class Arg(Rule):
    """ArgMax and ArgMin: along the channel axis the result is an index, so all channels stay, in order."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        axis = op.axis("axis", 0, found.rank)
        if found.axes == (axis,):
            raise Refused(Reason.WHOLE_AXIS, "the index of a channel is the result")
        if axis in found.axes:
            return self._of_rows(op, found, axis, fresh)
        out = found.with_state(np.where(is_wild(found.state), WILD, VARYING))
        return Flow((_drop_axes(out, [axis], bool(op.attrs.get("keepdims", 1))),))

    def _of_rows(self, op: Op, found: ChannelMap, axis: int, fresh: Fresh) -> Flow:
        """The flow where other axes have channels too: the entries of each row along `axis` stay, in order."""
        rows = np.moveaxis(found.labels, axis, -1)
        targets = fresh(int(np.prod(rows.shape[:-1])))
        wild = is_wild(found.state).any(axis, keepdims=True)
        out = ChannelMap(np.expand_dims(targets.reshape(rows.shape[:-1]), axis), np.where(wild, WILD, VARYING))
        grid = rows.reshape(targets.size, -1)
        reads = tuple(Read(0, row, target) for row, target in zip(grid, targets[:, None], strict=True))
        out = _drop_axes(out, [axis], bool(op.attrs.get("keepdims", 1)))
        return Flow((out,), reads=reads, evens=(Even((targets[:, None], grid)),), fixed=(found.labels, targets))

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        axis = op.axis("axis", 0, found.rank)
        if axis in found.axes:
            whole = emission.shape[axis] == found.shape[axis]
            if not whole or (np.diff(coordinates(emission, found.shape)[axis], axis=axis) != 1).any():
                raise Misaligned(found.labels)
            emission = folded_emission(found, emission, [axis])
        if op.attrs.get("keepdims", 1):
            return Resize((emission,))
        return Resize((emission.reshape([s for a, s in enumerate(emission.shape) if a != axis]),))


def _axes(op: Op, rank: int) -> list[int]:
    axes = op.attrs.get("axes")
    if axes is None and op.has(1):
        constant = op.constant(1)
        if constant is None:
            raise Refused(Reason.DYNAMIC_PARAMETER, "axes are computed at run time")
        axes = [int(axis) for axis in constant.ravel()]
    if axes is None or len(axes) == 0:
        return [] if op.attrs.get("noop_with_empty_axes", 0) else list(range(rank))
    return [int(axis) % rank for axis in axes]


def _content(op: Op, found: ChannelMap) -> np.ndarray:
    state = np.where(is_wild(found.state), WILD, VARYING)
    if op.op_type in _KEEP_ANY:
        return np.where(is_constant(found.state), found.state, state)
    if op.op_type in _KEEP_ZERO:
        return np.where(found.state == 0, 0.0, state)
    return state


def _drop_axes(found: ChannelMap, axes: list[int], keep: bool) -> ChannelMap:
    if keep:
        return found
    shape = tuple(size for axis, size in enumerate(found.shape) if axis not in axes)
    return ChannelMap(found.labels.reshape(shape), found.state.reshape(shape))


register(Softmax(), "Softmax", "LogSoftmax", "Hardmax")
register(
    Reduce(),
    *_KEEP_ANY,
    *_KEEP_ZERO,
    "ReduceLogSum",
    "ReduceLogSumExp",
)
register(Arg(), "ArgMax", "ArgMin")
