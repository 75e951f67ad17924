"""LSTM, GRU and RNN: hidden units are channels, which all outputs and the initial states hold.

A unit may go if no live unit depends on it, over any number of steps, and no reader of an output does. Units that are
zero in every step are constants like any other. Both directions of a bidirectional node keep as many units, each its
own; a direction that loses all of its units goes as a whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.cell import Cell, cell_of
from upscale_onnx.channels.rules.initial_states import (
    STATES,
    grid,
    has_units,
    held,
    places,
    resized_states,
    zero_starts,
)
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, FloatArray, IntArray

_RECURRENCE = 2


class Recurrent(Rule):
    """The rule of a node that reads X `(length, batch, I)`, lengths, and initial states `(D, batch, H)`, and makes Y
    `(length, D, batch, H)` and last states `(D, batch, H)`. With `layout` 1, the batch is the first axis of all."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        cell = cell_of(op)
        labels, state = _steps(cell, maps)
        hidden = fresh(cell.directions * cell.units).reshape(cell.directions, cell.units)
        starts, wild = np.ones(hidden.shape, bool), bool(is_wild(state).any())
        ties: list[tuple[IntArray, IntArray]] = []
        tied: list[int] = []
        reads: list[Read] = []
        fixed = [hidden] if cell.directions > 1 else []
        for index in STATES[op.op_type]:
            starts &= zero_starts(op, cell, maps, index)
            found = held(op, maps, index)
            if found is None:
                continue
            wild |= bool(is_wild(found.state).any())
            if has_units(op, found, cell):
                ties.append((grid(op, found, hidden.shape), hidden))
                tied.append(index)
            elif not found.axes:
                # Zeros, or a state of which nothing is known: a Gather takes what is left of it.
                reads.append(Read(index, found.labels.ravel(), hidden.ravel()))
            else:
                # It holds each direction's own number for all units.
                reads += [Read(index, found.labels.ravel()), Read(index, hidden.ravel())]
                fixed += [found.labels, hidden]
        if op.has(4) and len(maps) > 4 and maps[4] is not None:
            reads.append(Read(4, maps[4].labels.ravel()))
            fixed.append(maps[4].labels)
        if cell.directions > 1 and (op.attrs.get("activation_alpha") or op.attrs.get("activation_beta")):
            # Which direction a factor belongs to depends on the activations in front of it, so no direction may go.
            reads.append(Read(_RECURRENCE, hidden[:, 0]))
        silent = cell.silent(state, starts) & (not wild)
        channels, units = cell.reads(silent)
        if wild:  # zero times infinity is not zero
            channels, units = np.ones_like(channels), np.ones_like(units)
        flat = hidden.ravel()
        # In the first step, the recurrence reads the units of the initial states.
        own = [Read(0, labels, flat, channels, 2, is_constant(state))]
        own += [Read(index, flat, flat, units) for index in (_RECURRENCE, *tied)]
        content = np.where(silent, 0.0, WILD if wild else VARYING)
        outputs = tuple(_spread(hidden, content, axes, rank) for axes, rank in places(op)[: len(op.out_dims)])
        even = (Even((hidden,)),) if cell.directions > 1 else ()
        return Flow(outputs, tuple(ties), (*own, *reads), even, tuple(fixed), creates=True, role=Role.CONTRACTION)

    def resize(self, op: Op, request: Request) -> Resize:
        cell, result = cell_of(op), request.result
        hidden = result.labels.reshape(cell.directions, cell.units)
        source, found = request.emissions[0], known_map(request.maps[0])
        columns = np.arange(cell.channels_in) if source is None or found.shape[2] == 1 else source.ravel()
        rows = [request.choose.positions(row) if hidden.size > 1 else np.zeros(1, np.int64) for row in hidden]
        counts = {row.size for row in rows if row.size}
        if len(counts) != 1:
            raise Misaligned(hidden)
        used = [d for d, row in enumerate(rows) if row.size]
        gone = len(used) < cell.directions
        constants, absent, computed = resized_states(op, cell, request, hidden, rows)
        picked = np.concatenate([d * cell.units + rows[d] for d in used])
        outputs = tuple(_emission(picked, len(used), axes, rank) for axes, rank in places(op)[: len(op.out_dims)])
        live = request.choose.live(hidden)
        whole = is_full(picked, (hidden.size,)) and is_full(columns, (cell.channels_in,)) and bool(live.all())
        if whole:
            return Resize(outputs)
        _, state = _steps(cell, request.maps)
        removed = is_constant(state)
        removed[columns] = False
        # Units at zero and padding compute nothing, so that neither can overflow.
        silent = ~live | (result.state.reshape(hidden.shape) == 0)
        small = cell.absorbed(removed, state).silenced(silent).cut(rows, columns)
        attrs: dict[str, Any] = {"hidden_size": counts.pop()}
        if gone:
            attrs["direction"] = ("forward", "reverse")[used[0]]
        if gone and op.attrs.get("activations"):
            attrs["activations"] = [name.capitalize() for name in small.activations[0]]
        return Resize(outputs, {**_stored(small), **constants}, attrs, absent=absent, computed=computed)


def _steps(cell: Cell, maps: Maps) -> tuple[IntArray, FloatArray]:
    """The classes and contents of the channels of a step, `(I,)` each."""
    source = known_map(maps[0])
    if source.rank != 3 or any(axis != 2 for axis in source.axes):
        raise Refused(Reason.MIXED_LAYOUT, "channels lie on an axis that is not contracted")
    if source.shape[2] not in (1, cell.channels_in):
        raise Refused(Reason.UNSUPPORTED_FORM, "weight and sequence disagree about the channel count")
    return source.along(2, cell.channels_in)


def _spread(hidden: IntArray, content: FloatArray, axes: tuple[int, int], rank: int) -> ChannelMap:
    """The map of an output with directions and units on `axes`."""
    shape = [1] * rank
    shape[axes[0]], shape[axes[1]] = hidden.shape
    return ChannelMap(hidden.reshape(shape), content.reshape(shape))


def _emission(picked: IntArray, directions: int, axes: tuple[int, int], rank: int) -> IntArray:
    shape = [1] * rank
    shape[axes[0]], shape[axes[1]] = directions, picked.size // directions
    return picked.reshape(shape)


def _stored(cell: Cell) -> dict[int, Array]:
    """The inputs that hold the weights of the cell."""
    directions, units = cell.directions, cell.units
    stored: dict[int, Array] = {
        1: cell.weight.reshape(directions, -1, cell.channels_in),
        2: cell.recurrence.reshape(directions, -1, units),
    }
    if cell.bias is not None:
        stored[3] = cell.bias.reshape(directions, -1)
    if cell.peepholes is not None:
        stored[7] = cell.peepholes.reshape(directions, -1)
    return stored


register(Recurrent(), "LSTM", "GRU", "RNN", since=7)
