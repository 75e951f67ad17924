"""Loop and Scan: a carried value holds the same channels at the start, in every round, and in the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.carried import over, rounds_of
from upscale_onnx.channels.channel_map import WILD, ChannelMap, vector_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.grid import full_emission, take
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.alike import content
from upscale_onnx.channels.rules.contents import constant_content
from upscale_onnx.channels.rules.exits import Exit, read_whole, single_class
from upscale_onnx.errors import Reason
from upscale_onnx.model.bodies import DOMAIN, ENTRY
from upscale_onnx.types import Array, Dims, FloatArray, IntArray


class _Rounds(Exit):
    """The exit of a Loop or Scan: the carried values, then what all rounds made."""

    def members(self, op: Op, slot: int) -> tuple[int, ...]:
        rounds = rounds_of(op)
        body = rounds.given + rounds.conditions
        if slot >= rounds.carried:
            return (body + slot,)
        return body + len(op.out_dims) + slot, rounds.first + slot, body + slot

    def sequences(self, op: Op) -> range:
        rounds = rounds_of(op)
        return range(rounds.initial.stop, rounds.given)

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
                found = single_class(dims, maps, (index,), fresh)
            outputs.append(found)
        reads, fixed = read_whole(maps, whole)
        return Flow(tuple(outputs), reads=reads, fixed=fixed, linear=False)

    def resize(self, op: Op, request: Request) -> Resize:
        outputs: list[IntArray] = []
        constants: dict[int, Array] = {}
        for index, out in enumerate(request.out):
            outputs.append(full_emission(() if out is None else out.shape))
            if out is None or not out.has_channels:
                continue
            found, axis, array = request.maps[index], _scanned(op, index), op.constant(index)
            if found is not None and found.has_channels:
                given = request.emissions[index]
                if given is not None:
                    outputs[-1] = given if axis is None else given.squeeze(axis)
                continue
            # The exit makes the selection of a value that is computed.
            kept = request.choose.positions(out.labels.ravel())
            outputs[-1] = kept.reshape([-1 if size > 1 else 1 for size in out.shape])
            if kept.size < out.labels.size and array is not None:
                constants[index] = take(array, outputs[-1], out.shape)
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
    if not found.has_channels:
        return _undivided(found, dims, fresh)
    return ChannelMap(found.labels, found.state)


def _undivided(found: ChannelMap, dims: Dims, fresh: Fresh) -> ChannelMap:
    """The map of an initial value whose channels are not told apart, such as an input of the model: they lie along its
    last axis of a known size."""
    axis = next((a for a in reversed(range(len(dims))) if isinstance(size := dims[a], int) and size > 1), None)
    size = None if axis is None else dims[axis]
    if axis is None or not isinstance(size, int):
        return ChannelMap(found.labels, found.state)
    return vector_map(fresh(size), np.full(size, found.state.item()), len(dims), axis)


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


register(_Rounds(), "Loop", "Scan", domain=DOMAIN)
register(_Entry(), f"Loop{ENTRY}", f"Scan{ENTRY}", domain=DOMAIN)
