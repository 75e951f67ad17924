"""Pad. Along channel axes the amounts must be known before the graph runs."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Request, Resize, Rule
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.room import check_room
from upscale_onnx.channels.rules.run_time_sizes import known_entries
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array


class Pad(Rule):
    """The rule of constant pads: along the channel axis they add constant channels or take channels away, along other
    axes a border."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        before, after, value, mode, unknown = pads_of(op, found.rank)
        if any(axis in unknown for axis in found.axes):
            raise Refused(Reason.DYNAMIC_PARAMETER, "pads of a channel axis are computed at run time")
        hit = [axis for axis in found.axes if before[axis] or after[axis]]
        beside = [axis for axis in range(found.rank) if axis not in found.axes]
        border = any(before[axis] or after[axis] or axis in unknown for axis in beside)
        wild = is_wild(found.state)
        kept = (found.state == value) if border and mode == "constant" else np.isfinite(found.state)
        state = np.where(kept, found.state, np.where(wild, WILD, VARYING))
        if not hit:
            return Flow((found.with_state(state),))
        if unknown:
            raise Refused(Reason.DYNAMIC_PARAMETER, "pads channels, and other axes by amounts computed at run time")
        if len(hit) > 1 or len(found.axes) > 1 or mode != "constant":
            raise Refused(Reason.UNSUPPORTED_FORM, "pads channels along several axes or in another mode than constant")
        axis = hit[0]
        inner = _inner(before[axis], after[axis], found.labels.size)
        added = max(before[axis], 0), max(after[axis], 0)
        check_room(added[0] + found.labels.size + added[1])
        first, last = fresh(added[0]), fresh(added[1])
        labels = np.concatenate([first, found.labels.ravel()[inner], last])
        content = np.concatenate([np.full(first.size, value), state.ravel()[inner], np.full(last.size, value)])
        shape = [labels.size if a == axis else 1 for a in range(found.rank)]
        return Flow((ChannelMap(labels.reshape(shape), content.reshape(shape)),))

    def resize(self, op: Op, request: Request) -> Resize:
        (found, emission), result = request.first_input(), request.result
        before, after, _, _, _ = pads_of(op, found.rank)
        hit = [axis for axis in found.axes if before[axis] or after[axis]]
        if not hit:
            return Resize((emission,))
        axis, labels = hit[0], result.labels.ravel()
        inner, given = _inner(before[axis], after[axis], found.labels.size), emission.ravel()
        head, tail = given < inner.start, given >= inner.stop
        if not (np.sort(head)[::-1] == head).all() or not (np.sort(tail) == tail).all():
            raise Misaligned(found.labels)
        behind = max(before[axis], 0) + inner.stop - inner.start
        first = np.sort(request.choose.positions(labels[: max(before[axis], 0)]))
        last = np.sort(request.choose.positions(labels[behind:]))
        positions = np.concatenate([first, given[~head & ~tail] + before[axis], last + behind])
        shape = [positions.size if a == axis else 1 for a in range(found.rank)]
        pads = [*before, *after]
        pads[axis], pads[axis + found.rank] = first.size - int(head.sum()), last.size - int(tail.sum())
        outputs = (positions.reshape(shape),)
        if not any(pads):
            return Resize(outputs, alias=0)
        if pads == [*before, *after]:
            return Resize(outputs)
        if op.opset < 11:
            return Resize(outputs, attrs={"pads": pads})
        # The axes input may list some axes only. A new node with pads for all axes does the same.
        inputs: list[int | Array] = [0, np.asarray(pads, np.int64)]
        if op.has(2):
            inputs.append(2)
        return Resize(outputs, replace=(NewNode("Pad", tuple(inputs), 0, {"mode": "constant"}),))


def _inner(before: int, after: int, size: int) -> slice:
    """The channels of the input that stay. Negative amounts take some away."""
    inner = slice(max(-before, 0), size - max(-after, 0))
    if inner.start > inner.stop:
        raise Refused(Reason.UNSUPPORTED_FORM, "takes away more channels than there are")
    return inner


def pads_of(op: Op, rank: int) -> tuple[list[int], list[int], float, str, list[int]]:
    """The amounts before and behind each axis, the value, the mode, and the axes whose amounts are computed at run
    time."""
    mode = op.attrs.get("mode", "constant")
    if op.opset < 11:
        pads = [int(p) for p in op.attrs.get("pads", op.attrs.get("paddings", ()))]
        return pads[:rank], pads[rank:], float(op.attrs.get("value", 0.0)), mode, []
    value, listed = op.constant(2), op.constant(3)
    if not op.has(1) or op.is_dynamic(2) or op.is_dynamic(3):
        raise Refused(Reason.DYNAMIC_PARAMETER, "the value or the axes are computed at run time")
    axes = list(range(rank)) if listed is None else [int(a) % rank for a in listed.ravel()]
    amounts = known_entries(op, 1, 2 * len(axes))
    constant = float(value.ravel()[0]) if value is not None and value.size else 0.0
    before, after = [0] * rank, [0] * rank
    unknown: list[int] = []
    for number, axis in enumerate(axes):
        first, last = amounts[number], amounts[len(axes) + number]
        before[axis], after[axis] = first or 0, last or 0
        unknown += [axis] if first is None or last is None else []
    return before, after, constant, mode, unknown


register(Pad(), "Pad", since=2)
