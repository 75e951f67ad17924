"""Operators that work along some axes and treat all indices of the other axes alike: these carry channels.

Sampling at places (GridSample, RoiAlign, MaxRoiPool), running sums, statistics, sorting, reversing, cropping, masking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.errors import Reason
from upscale_onnx.types import FloatArray


class Kept(Enum):
    """Which constant channels stay what they are."""

    ZERO = auto()
    """Zeros: the operator is linear along its axes, or fills places with zeros."""
    ANY = auto()
    """All: the operator only moves elements."""
    NONE = auto()
    """None: constants are divided by their deviation, which is zero."""


class AlongAxes(Rule):
    """The rule of an operator that works along the axes `acted` of its first input, of any rank. Further inputs are
    the same for all channels. All outputs hold the channels of the input; those behind the first are indices."""

    def __init__(self, acted: Callable[[Op, int], list[int]], kept: Kept) -> None:
        self._acted, self._kept = acted, kept

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        acted = self._acted(op, found.rank)
        if any(axis in acted for axis in found.axes):
            raise Refused(Reason.MIXED_LAYOUT, "works along a channel axis")
        state = self._content(op, found, maps)
        first = found.with_state(state)
        index = found.with_state(np.where(is_wild(state), WILD, VARYING))
        fragile = (found.labels,) if self._kept is Kept.NONE else ()
        return Flow((first, *(index,) * (len(op.used) - 1)), fragile=fragile)

    def resize(self, op: Op, request: Request) -> Resize:
        _, emission = request.first_input()
        return Resize((emission,) * len(op.used))

    def _content(self, op: Op, found: ChannelMap, maps: Maps) -> FloatArray:
        kept = is_constant(found.state) if self._kept is Kept.ANY else found.state == 0
        behind = any(other is not None and is_wild(other.state).any() for other in maps[1:])
        # Places that are no numbers may make anything of zeros.
        wild = is_wild(found.state) | behind | any(_is_unbounded(op, index) for index in range(1, len(op.present)))
        if self._kept is Kept.NONE:
            wild = wild | is_constant(found.state)
        return np.where(wild, WILD, np.where(kept, found.state, VARYING))


def _is_unbounded(op: Op, index: int) -> bool:
    constant = op.constant(index)
    return constant is not None and constant.dtype.kind == "f" and not np.isfinite(constant).all()


def _places(op: Op, rank: int) -> list[int]:
    """All axes but axis 1, of channels: places, and the batch, which other inputs index."""
    return [axis for axis in range(rank) if axis != 1]


def _running(op: Op, rank: int) -> list[int]:
    axis = op.constant(1)
    if axis is None or axis.size != 1 or not -rank <= int(axis.ravel()[0]) < rank:
        raise Refused(Reason.DYNAMIC_PARAMETER, "the axis is computed at run time")
    return [int(axis.ravel()[0]) % rank]


def _sorted(op: Op, rank: int) -> list[int]:
    return [_axis(op, "axis", -1, rank)]


def _reversed(op: Op, rank: int) -> list[int]:
    return [_axis(op, "batch_axis", 1, rank), _axis(op, "time_axis", 0, rank)]


def _normalized(op: Op, rank: int) -> list[int]:
    return _listed(op.attrs.get("axes", (0, 2, 3)), rank)


def _triangle(op: Op, rank: int) -> list[int]:
    return [rank - 2, rank - 1]


def _cropped(op: Op, rank: int) -> list[int]:
    return _listed(op.attrs.get("axes", range(rank)), rank)


def _listed(axes: Iterable[int], rank: int) -> list[int]:
    if any(not -rank <= int(axis) < rank for axis in axes):
        raise Refused(Reason.UNSUPPORTED_FORM, f"axes {list(axes)} of {rank}")
    return [int(axis) % rank for axis in axes]


def _axis(op: Op, name: str, default: int, rank: int) -> int:
    axis = op.axis(name, default, rank)
    if axis == rank:
        raise Refused(Reason.UNSUPPORTED_FORM, f"attribute {name} is {rank}, but there are {rank} axes")
    return axis


register(AlongAxes(_places, Kept.ZERO), "GridSample", since=16)
register(AlongAxes(_places, Kept.ZERO), "RoiAlign", since=10)
register(AlongAxes(_places, Kept.ZERO), "MaxRoiPool")
register(AlongAxes(_running, Kept.ZERO), "CumSum", since=11)
register(AlongAxes(_sorted, Kept.ANY), "TopK")
register(AlongAxes(_reversed, Kept.ANY), "ReverseSequence", since=10)
register(AlongAxes(_normalized, Kept.NONE), "MeanVarianceNormalization", since=9)
register(AlongAxes(_triangle, Kept.ZERO), "Trilu", since=14)
register(AlongAxes(_cropped, Kept.ZERO), "CenterCropPad", since=18)
