"""Transpose, Expand and Tile: the axes of a map are permuted, added, or repeated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import WILD, ChannelMap, Wild, known_map
from upscale_onnx.channels.flow import EmissionChooser, Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.grid import coordinates, full_emission, is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.room import check_room
from upscale_onnx.channels.rules.infinities import wild_of_constant
from upscale_onnx.channels.rules.levels import of_constant
from upscale_onnx.channels.rules.run_time_sizes import known_entries, overwritten
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array

_MATRIX = 2  # axes of scores, behind that of heads


class Transpose(Rule):
    """The rule of a Transpose by `perm`, by default the reversed axes."""

    merged_axes = True

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        perm = self._perm(op, found)
        if found.table and found.axes and perm.index(found.axes[0]) < found.rank - _MATRIX:
            # Layers that add the same table of biases to the scores of their heads lose heads each for itself.
            raise Refused(Reason.MIXED_LAYOUT, "columns of a table become heads, which each reader selects")
        merged = None if found.merged is None else found.merged.at(perm.index(found.merged.axis))
        levels = None if found.levels is None else found.levels.transpose(perm)
        labels, state = found.labels.transpose(perm), found.state.transpose(perm)
        return Flow((ChannelMap(labels, state, merged=merged, levels=levels),))

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        perm = self._perm(op, found)
        where = coordinates(emission.transpose(perm), found.shape)
        shape = tuple(found.shape[axis] for axis in perm)
        given = np.ravel_multi_index(tuple(where[axis] for axis in perm), shape)
        return Resize((np.asarray(given, np.int64),))

    def _perm(self, op: Op, found: ChannelMap) -> list[int]:
        perm = [int(p) for p in op.attrs.get("perm") or reversed(range(found.rank))]
        if sorted(perm) != list(range(found.rank)):
            raise Refused(Reason.UNSUPPORTED_FORM, f"{perm} is no permutation of {found.rank} axes")
        return perm


class Expand(Rule):
    """The rule of an Expand whose shape is known along channel axes, which keep their size."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = _expanded_map(op, maps, fresh)
        entries = self._entries(op, found)
        lifted = (1,) * (len(entries) - found.rank) + found.shape
        if any(size > 1 and entry not in (1, size) for size, entry in zip(lifted, entries, strict=True)):
            raise Refused(Reason.DYNAMIC_AXIS, "expands the channel axis")
        levels = (
            None
            if found.levels is None
            else found.levels.reshape((1,) * (len(entries) - found.rank) + found.levels.shape)
        )
        labels, state = found.labels.reshape(lifted), found.state.reshape(lifted)
        return Flow((ChannelMap(labels, state, wild=found.wild, levels=levels),))

    def resize(self, op: Op, request: Request) -> Resize:
        constant = op.constant(0)
        if constant is not None:
            return _narrow_constant(constant, request.result, request.choose)
        found, emission = request.first_input()
        entries = self._entries(op, found)
        given = emission.reshape((1,) * (len(entries) - found.rank) + emission.shape)
        lifted = (1,) * (len(entries) - found.rank) + found.shape
        if given.shape == lifted or all(e == 1 for s, e in zip(lifted, entries, strict=True) if s > 1):
            return Resize((given,))
        # An entry of 1 keeps the size of its axis.
        if None in entries:
            new = [1 if size > 1 else None for size in lifted]
            return Resize((given,), computed={1: overwritten(op, 1, new[len(new) - _length(op) :])})
        shape = [1 if size > 1 or entry is None else entry for size, entry in zip(lifted, entries, strict=True)]
        return Resize((given,), {1: np.asarray(shape, np.int64)})

    def _entries(self, op: Op, found: ChannelMap) -> list[int | None]:
        """The shape entry of each axis of the result: 1 where the axis keeps its size, None where the entry of an axis
        without channels is computed at run time.

        Raises:
            Refused: the entry of a channel axis is computed at run time and is not the input's size.
        """
        dims, length = op.in_dims[0], _length(op)
        entries = (op.shape_values[1] if len(op.shape_values) > 1 else None) or (None,) * length
        if dims is None or len(entries) != length:
            raise Refused(Reason.DYNAMIC_PARAMETER, "shape is computed at run time")
        rank = max(found.rank, len(entries))
        wanted, given = (1,) * (rank - len(entries)) + entries, (1,) * (rank - len(dims)) + dims
        fixed: list[int | None] = []
        channels = (1,) * (rank - found.rank) + found.shape
        for entry, dim, size in zip(wanted, given, channels, strict=True):
            if isinstance(entry, int):
                fixed.append(entry)
            elif entry is not None and entry == dim:
                fixed.append(1)
            elif size == 1:
                fixed.append(None)
            else:
                raise Refused(Reason.DYNAMIC_PARAMETER, "shape is computed at run time")
        return fixed


def _length(op: Op) -> int:
    """The number of entries of the shape. Raises `Refused` where it is not known."""
    known = op.shape_values[1] if len(op.shape_values) > 1 else None
    if known is not None:
        return len(known)
    dims = op.in_dims[1] if len(op.in_dims) > 1 else None
    if dims is None or len(dims) != 1 or not isinstance(dims[0], int):
        raise Refused(Reason.DYNAMIC_PARAMETER, "shape is computed at run time")
    return dims[0]


def _expanded_map(op: Op, maps: Maps, fresh: Fresh) -> ChannelMap:
    """The map of the input. A constant (a class token) with one axis of more than one entry gets a new class per
    entry."""
    constant = op.constant(0)
    if constant is None:
        return known_map(maps[0])
    if constant.dtype.kind != "f":
        raise Refused(Reason.UNSUPPORTED_FORM, "a constant that is no floating-point number")
    if constant.size != max(constant.shape, default=1):
        return of_constant(constant, fresh(1))
    state = np.where(np.isfinite(constant), constant, WILD).astype(np.float64)
    wild = wild_of_constant(constant) or Wild.ANYTHING
    return ChannelMap(fresh(constant.size).reshape(constant.shape), state, wild=Wild.of_any((wild,)))


def _narrow_constant(constant: Array, result: ChannelMap, choose: EmissionChooser) -> Resize:
    positions = choose.positions(result.labels.ravel()) if result.labels.size > 1 else np.zeros(1, np.int64)
    emission = positions.reshape([-1 if size > 1 else 1 for size in result.shape])
    if is_full(emission, result.shape):
        return Resize((emission,))
    axis = int(np.argmax(constant.shape))
    return Resize((emission,), {0: constant.take(positions, axis)})


class Tile(Rule):
    """The rule of a Tile by constant repeats. Along a channel axis the classes repeat."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        constant = op.constant(0)
        if constant is not None and constant.dtype.kind == "f":
            return self._of_constant(op, constant, fresh)
        found, counts = known_map(maps[0]), self._counts(op, known_map(maps[0]))
        if any(counts[axis] is None for axis in found.axes):
            raise Refused(Reason.DYNAMIC_PARAMETER, "repeats of a channel axis are computed at run time")
        reps = _repeats(found, counts)
        check_room(found.labels.size, *reps)
        return Flow((ChannelMap(np.tile(found.labels, reps), np.tile(found.state, reps)),))

    def _of_constant(self, op: Op, constant: Array, fresh: Fresh) -> Flow:
        made = of_constant(constant, fresh(1))
        counts = self._counts(op, made)
        if any(count != 1 for count, size in zip(counts, constant.shape, strict=True) if size > 1):
            made = replace(made, levels=None)
        return Flow((made,))

    def resize(self, op: Op, request: Request) -> Resize:
        if op.is_constant(0):
            return Resize((full_emission(request.result.shape),))
        (found, emission), result = request.first_input(), request.result
        reps = _repeats(found, self._counts(op, found))
        where = [np.tile(c, reps) for c in coordinates(emission, found.shape)]
        for axis, count in enumerate(reps):
            copy = np.arange(emission.shape[axis] * count) // max(emission.shape[axis], 1) * found.shape[axis]
            where[axis] = where[axis] + copy.reshape([-1 if a == axis else 1 for a in range(found.rank)])
        return Resize((np.asarray(np.ravel_multi_index(tuple(where), result.shape), np.int64),))

    def _counts(self, op: Op, found: ChannelMap) -> list[int | None]:
        counts = known_entries(op, 1, found.rank)
        if any(count is not None and count < 1 for count in counts):
            raise Refused(Reason.UNSUPPORTED_FORM, "repeats that leave nothing")
        return counts


def _repeats(found: ChannelMap, counts: list[int | None]) -> list[int]:
    """How often the map repeats along each axis: along axes without channels, it does not."""
    return [count or 1 if found.shape[axis] > 1 else 1 for axis, count in enumerate(counts)]


register(Transpose(), "Transpose")
register(Expand(), "Expand")
register(Tile(), "Tile", since=6)
