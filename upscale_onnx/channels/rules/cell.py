"""The weights of LSTM, GRU and RNN nodes in one form, gate by gate, and what is left of them when units go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from upscale_onnx.channels.channel_map import is_constant
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.room import check_pattern_room
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, BoolArray, FloatArray, IntArray

DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
# Per operator: the number of gates, which of them is the candidate for the new state, and the activations of one
# direction. The candidate's and those behind it must keep zero for a unit to stay at zero.
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_CANDIDATE = {"LSTM": 3, "GRU": 2, "RNN": 0}
_ACTIVATIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_KEEP_ZERO = frozenset(("tanh", "relu", "leakyrelu", "thresholdedrelu", "scaledtanh", "elu", "softsign"))
_PEEPHOLES = 3


@dataclass(frozen=True, eq=False)
class Cell:
    """The weights of a recurrent node with D directions, G gates, H hidden units and I input channels.

    weight: `(D, G, H, I)`. recurrence: `(D, G, H, H)`. bias: `(D, 2, G, H)`, of the weight and of the recurrence, None
    where there is none. peepholes: `(D, 3, H)` or None. candidate: the gate that proposes the new state.
    activations: the names of each direction's activations, in small letters.
    """

    weight: Array
    recurrence: Array
    bias: Array | None
    peepholes: Array | None
    candidate: int
    activations: tuple[tuple[str, ...], ...]

    @property
    def directions(self) -> int:
        """The number of directions."""
        return int(self.weight.shape[0])

    @property
    def units(self) -> int:
        """The hidden units of each direction."""
        return int(self.weight.shape[2])

    @property
    def channels_in(self) -> int:
        """The channels of each step of the sequence."""
        return int(self.weight.shape[3])

    def cut(self, rows: Sequence[IntArray], columns: IntArray) -> Cell:
        """The cell with the units `rows` of each direction, none of a direction that goes, and the input channels
        `columns`."""
        used = [d for d, row in enumerate(rows) if row.size]
        return replace(
            self,
            weight=np.stack([self.weight[d][:, rows[d]][:, :, columns] for d in used]),
            recurrence=np.stack([self.recurrence[d][:, rows[d]][:, :, rows[d]] for d in used]),
            bias=None if self.bias is None else np.stack([self.bias[d][:, :, rows[d]] for d in used]),
            peepholes=None if self.peepholes is None else np.stack([self.peepholes[d][:, rows[d]] for d in used]),
            activations=tuple(self.activations[d] for d in used),
        )

    def silenced(self, units: BoolArray) -> Cell:
        """The cell with zeros in all weights by which `units`, `(D, H)`, compute their state."""
        if not units.any():
            return self
        return replace(
            self,
            weight=np.where(units[:, None, :, None], 0, self.weight).astype(self.weight.dtype),
            recurrence=np.where(units[:, None, :, None], 0, self.recurrence).astype(self.weight.dtype),
            bias=None if self.bias is None else np.where(units[:, None, None], 0, self.bias).astype(self.weight.dtype),
            peepholes=None
            if self.peepholes is None
            else np.where(units[:, None], 0, self.peepholes).astype(self.weight.dtype),
        )

    def absorbed(self, columns: BoolArray, state: FloatArray) -> Cell:
        """The cell whose bias holds what the input channels `columns`, of content `state`, contribute in each step."""
        if not (columns & (state != 0)).any():
            return self
        bias = np.zeros((self.directions, 2, *self.weight.shape[1:3])) if self.bias is None else self.bias.astype(float)
        bias[:, 0] += self.weight[..., columns].astype(np.float64) @ state[columns]
        return replace(self, bias=bias.astype(self.weight.dtype))

    def silent(self, state: FloatArray, starts: BoolArray) -> BoolArray:
        """`(D, H)`: the units whose state is zero in every step, whatever varies.

        A unit stays at zero if it starts there and its candidate is zero in each step, since the other gates only
        scale. So the candidate's bias and its weights of all that varies must be zero; the other silent units do not.
        state: content of the input channels, `(I,)`. starts: `(D, H)`, the units whose initial state is zero.
        """
        fixed = is_constant(state)
        rows = self.weight[:, self.candidate]
        offset = rows[..., fixed].astype(np.float64) @ state[fixed]
        proposed = np.zeros((self.directions, 2, self.units)) if self.bias is None else self.bias[:, :, self.candidate]
        # All activations but the first, which is that of the gates, stand between the candidate and the state.
        keeps = np.asarray([_KEEP_ZERO.issuperset(names[1:] or names) for names in self.activations])
        silent = starts & keeps[:, None] & ~(rows[..., ~fixed] != 0).any(-1)
        silent &= (proposed[:, 0] + offset == 0) & (proposed[:, 1] == 0)
        reads = self.recurrence[:, self.candidate] != 0
        while True:
            fewer: BoolArray = silent & ~(reads & ~silent[:, None]).any(-1)
            if fewer.sum() == silent.sum():
                return fewer
            silent = fewer

    def reads(self, silent: BoolArray) -> tuple[BoolArray, BoolArray]:
        """Which input channels and which units the state of each unit depends on over the whole sequence: `(D·H, I)`
        and `(D·H, D·H)`. Nothing depends on `silent` units, nor do these."""
        count = self.directions * self.units
        check_pattern_room(count, max(count, self.channels_in))
        loud = ~silent
        direct = (self.recurrence != 0).any(1) & loud[:, None, :] & loud[:, :, None]
        given = (self.weight != 0).any(1) & loud[..., None]
        units = np.zeros((count, count), bool)
        channels = np.zeros((count, self.channels_in), bool)
        for d in range(self.directions):
            place = slice(d * self.units, (d + 1) * self.units)
            reached = _closure(direct[d])
            units[place, place] = reached
            channels[place] = (reached.astype(np.float32) @ given[d].astype(np.float32)) > 0
        return channels, units


def cell_of(op: Op) -> Cell:
    """The weights of the node. Raises `Refused` where they are no constants, or do not fit each other."""
    weight, recurrence, bias, peepholes = (op.constant(index) for index in (1, 2, 3, 7))
    if weight is None or recurrence is None or op.is_dynamic(3) or op.is_dynamic(7):
        raise Refused(Reason.DYNAMIC_PARAMETER, "weights are computed at run time")
    gates, directions = GATES[op.op_type], DIRECTIONS.get(op.attrs.get("direction", "forward"), 0)
    if weight.ndim != 3 or recurrence.ndim != 3 or min(weight.shape) < 1:
        raise Refused(Reason.UNSUPPORTED_FORM, f"weights of shapes {weight.shape} and {recurrence.shape}")
    units, channels = int(recurrence.shape[2]), int(weight.shape[2])
    fits = weight.shape[:2] == recurrence.shape[:2] == (directions, gates * units)
    fits &= op.attrs.get("hidden_size", units) == units
    fits &= bias is None or bias.shape == (directions, 2 * gates * units)
    fits &= peepholes is None or peepholes.shape == (directions, _PEEPHOLES * units)
    if not fits:
        raise Refused(Reason.UNSUPPORTED_FORM, "weights, biases and attributes do not fit each other")
    if not all(array is None or np.isfinite(array).all() for array in (weight, recurrence, bias, peepholes)):
        raise Refused(Reason.UNSUPPORTED_FORM, "weights are not finite")
    return Cell(
        weight.reshape(directions, gates, units, channels),
        recurrence.reshape(directions, gates, units, units),
        None if bias is None else bias.reshape(directions, 2, gates, units),
        None if peepholes is None else peepholes.reshape(directions, _PEEPHOLES, units),
        _CANDIDATE[op.op_type],
        _activations(op, directions),
    )


def _activations(op: Op, directions: int) -> tuple[tuple[str, ...], ...]:
    """The names of each direction's activations. Raises `Refused` where there are not as many as there should be."""
    usual = _ACTIVATIONS[op.op_type]
    given = [str(name).lower() for name in op.attrs.get("activations") or usual * directions]
    if len(given) != len(usual) * directions:
        raise Refused(Reason.UNSUPPORTED_FORM, f"{len(given)} activations for {directions} directions")
    return tuple(tuple(given[d * len(usual) : (d + 1) * len(usual)]) for d in range(directions))


def _closure(direct: BoolArray) -> BoolArray:
    """Which indices can be reached from each by any number of steps, itself included."""
    reached: BoolArray = direct | np.eye(len(direct), dtype=bool)
    while True:
        steps = reached.astype(np.float32)
        further: BoolArray = (steps @ steps) > 0
        if further.sum() == reached.sum():
            return reached
        reached = further
