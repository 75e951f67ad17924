"""Bodies of If, Loop and Scan: channels pass in, out, and on from one round to the next.

The graph is flat: an *entry* makes what a body is handed, an *exit* makes what the node returns (`model/bodies.py`).
Both branches of an If hold the channels of its result. What a body of a Loop or Scan hands on holds the channels that it
was handed, and so do the initial value and the result. Values that do not fit together stay whole.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from upscale_onnx.channels.carried import over, rounds_of
from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, vector_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, NewNode, Read, Request, Resize, Rule
from upscale_onnx.channels.grid import full_emission, take
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.alike import Ties, alike, common_shape, content, emitted
from upscale_onnx.channels.rules.contents import constant_content
from upscale_onnx.errors import Reason
from upscale_onnx.model.bodies import DOMAIN, ENTRY
from upscale_onnx.types import Array, Dims, FloatArray, IntArray


class _Exit(Rule):
    """What a node with bodies returns."""

    data_inputs: int | None = None

    @abstractmethod
    def members(self, op: Op, slot: int) -> tuple[int, ...]:
        """The inputs that may become an output: they hold the same channels."""

    def axis(self, op: Op, slot: int) -> int | None:
        """The axis along which an output stacks the values of all rounds; None where it is one of them."""
        return None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        outputs: list[ChannelMap | None] = []
        ties: Ties = ()
        whole = set(range(len(maps)))
        for slot, dims in enumerate(op.out_dims):
            members, axis = self.members(op, slot), self.axis(op, slot)
            shape = common_shape(op, maps, members)
            if shape is None or dims is None:
                outputs.append(_single(dims, maps, members, fresh))
                continue
            found, more = alike(op, maps, members, shape, fresh)
            if axis is not None:
                found = ChannelMap(np.expand_dims(found.labels, axis), np.expand_dims(found.state, axis))
            outputs.append(found)
            ties += more
            whole -= set(members)
        reads, fixed = _read_whole(maps, whole)
        return Flow(tuple(outputs), ties, reads, fixed=fixed, linear=False)

    def resize(self, op: Op, request: Request) -> Resize:
        outputs: list[IntArray] = []
        constants: dict[int, Array] = {}
        for slot, out in enumerate(request.out):
            members, axis = self.members(op, slot), self.axis(op, slot)
            shape = None if out is None else common_shape(op, request.maps, members)
            held = full_emission(() if out is None else out.shape)
            if shape is not None:
                held, cut = emitted(op, request, members, shape)
                held = held if axis is None else np.expand_dims(held, axis)
                constants |= cut
            outputs.append(held)
        return Resize(tuple(outputs), constants)


class _Branches(_Exit):
    """The exit of an If. Its inputs are the condition, then what each branch returns."""

    def members(self, op: Op, slot: int) -> tuple[int, ...]:
        return 1 + slot, 1 + len(op.out_dims) + slot


class _OneBranch(_Exit):
    """The exit of an If whose condition is known. Nothing is read of the other branch."""

    def members(self, op: Op, slot: int) -> tuple[int, ...]:
        return (1 + slot + (0 if _taken(op) else len(op.out_dims)),)

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = super().flow(op, maps, fresh)
        taken = {index for slot in range(len(op.out_dims)) for index in self.members(op, slot)}
        reads, fixed = _read_whole(maps, taken & {read.input for read in found.reads})
        return replace(found, reads=reads, fixed=fixed, droppable=True)

    def resize(self, op: Op, request: Request) -> Resize:
        copies = [NewNode("Identity", self.members(op, slot), slot) for slot, used in enumerate(op.used) if used]
        return replace(super().resize(op, request), constants={}, replace=tuple(copies))


class _If(Rule):
    """The exit of an If."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        return _exit_of_if(op).flow(op, maps, fresh)

    def resize(self, op: Op, request: Request) -> Resize:
        return _exit_of_if(op).resize(op, request)


def _exit_of_if(op: Op) -> _Exit:
    return _Branches() if _taken(op) is None else _OneBranch()


def _taken(op: Op) -> bool | None:
    """What the condition of an If is; None where that depends on the input."""
    condition = op.constant(0)
    return None if condition is None or condition.size != 1 else bool(condition.ravel()[0])


class _Rounds(_Exit):
    """The exit of a Loop or Scan: the carried values, then what all rounds made."""

    def members(self, op: Op, slot: int) -> tuple[int, ...]:
        rounds = rounds_of(op)
        body = rounds.given + rounds.conditions
        if slot >= rounds.carried:
            return (body + slot,)
        return body + len(op.out_dims) + slot, rounds.first + slot, body + slot

    def axis(self, op: Op, slot: int) -> int | None:
        place, dims = slot - rounds_of(op).carried, op.out_dims[slot]
        return None if place < 0 or dims is None else _axis(op, "scan_output_axes", place, len(dims))

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        carried = [self.members(op, slot) for slot in range(rounds_of(op).carried)]
        handed = [(held, maps[held], returned) for held, _, returned in carried]
        states = tuple((held, _next(op, maps, returned, f.shape)) for held, f, returned in handed if f is not None)
        return replace(super().flow(op, maps, fresh), carried=states)


def _next(op: Op, maps: Maps, index: int, shape: tuple[int, ...]) -> FloatArray:
    """What a body hands on, for a map of `shape` of what it was handed."""
    found = maps[index]
    if found is None:
        return content(op, maps, index, shape)
    if found.rank == len(shape) and all(a in (1, b) or b == 1 for a, b in zip(found.shape, shape, strict=True)):
        return over(found.state, shape)
    return np.full(shape, WILD)


class _Entry(Rule):
    """What the body of a Loop or Scan is handed: counters, carried values, slices of sequences."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        outputs: list[ChannelMap | None] = []
        whole = set()
        for index, dims in enumerate(op.out_dims):
            found = _handed(op, maps, index, fresh)
            if found is None:
                whole.add(index)
                found = _single(dims, maps, (index,), fresh)
            outputs.append(found)
        reads, fixed = _read_whole(maps, whole)
        return Flow(tuple(outputs), reads=reads, fixed=fixed, linear=False)

    def resize(self, op: Op, request: Request) -> Resize:
        outputs: list[IntArray] = []
        constants: dict[int, Array] = {}
        for index, out in enumerate(request.out):
            held, given, array = full_emission(() if out is None else out.shape), None, op.constant(index)
            if out is not None and out.axes:
                given = request.emissions[index]
            if given is not None:
                axis = _scanned(op, index)
                held = given if axis is None else given.squeeze(axis)
            elif out is not None and out.axes and array is not None:
                kept = request.choose.positions(out.labels.ravel())
                held = kept.reshape([-1 if size > 1 else 1 for size in out.shape])
                if kept.size < out.labels.size:
                    constants[index] = take(array, held, out.shape)
            outputs.append(held)
        return Resize(tuple(outputs), constants)


def _handed(op: Op, maps: Maps, index: int, fresh: Fresh) -> ChannelMap | None:
    """The map of what a body is handed for an input, if its channels pass; None if they do not."""
    found, dims, axis, array = maps[index], op.out_dims[index], _scanned(op, index), op.constant(index)
    if dims is None:
        return None
    if axis is not None:
        if found is None or found.rank != len(dims) + 1 or found.shape[axis] != 1:
            return None
        return ChannelMap(found.labels.squeeze(axis), found.state.squeeze(axis))
    if index not in rounds_of(op).initial:
        return None
    if array is not None:
        return _start(array, dims, fresh)
    if found is None or found.rank != len(dims) or any(found.shape[a] != dims[a] for a in found.axes):
        return None
    return ChannelMap(found.labels, found.state)


def _start(array: Array, dims: Dims, fresh: Fresh) -> ChannelMap | None:
    """The map of a constant initial value: its channels lie along its last axis of more than one entry."""
    if array.ndim != len(dims):
        return None
    axis = next((a for a in reversed(range(array.ndim)) if array.shape[a] > 1), None)
    if axis is None or array.shape[axis] != dims[axis]:
        return None
    found = vector_map(fresh(array.shape[axis]), np.zeros(array.shape[axis]), array.ndim, axis)
    state = constant_content(array, found.shape)
    return None if state is None else found.with_state(state)


def _scanned(op: Op, index: int) -> int | None:
    """The axis along which a Scan slices an input; None for other inputs."""
    rounds, dims = rounds_of(op), op.in_dims[index]
    place = index - rounds.first - rounds.carried
    return None if place < 0 or dims is None else _axis(op, "scan_input_axes", place, len(dims))


def _axis(op: Op, name: str, place: int, rank: int) -> int:
    """The entry of a list of axes, from 0 on; 0 where there is no list."""
    axes = op.attrs.get(name) or ()
    axis = int(axes[place]) if place < len(axes) else 0
    if (axes and place >= len(axes)) or not -rank <= axis < rank:
        raise Refused(Reason.UNSUPPORTED_FORM, f"{name} are {list(axes)}")
    return axis % rank


def _single(dims: Dims | None, maps: Maps, sources: Sequence[int], fresh: Fresh) -> ChannelMap | None:
    """The map of a value whose channels are not told apart."""
    if dims is None:
        return None
    known = [found for index in sources if (found := maps[index]) is not None]
    wild = any(is_wild(found.state).any() for found in known)
    ones = (1,) * len(dims)
    return ChannelMap(fresh(1).reshape(ones), np.full(ones, WILD if wild else VARYING))


def _read_whole(maps: Maps, whole: Collection[int]) -> tuple[tuple[Read, ...], tuple[IntArray, ...]]:
    """Reads of all channels of these inputs in their order, and the classes whose order stays."""
    known = [(index, found.labels) for index in sorted(whole) if (found := maps[index]) is not None]
    return tuple(Read(index, labels.ravel()) for index, labels in known), tuple(labels for _, labels in known)


register(_If(), "If", domain=DOMAIN)
register(_Rounds(), "Loop", "Scan", domain=DOMAIN)
register(_Entry(), f"Loop{ENTRY}", f"Scan{ENTRY}", domain=DOMAIN)
