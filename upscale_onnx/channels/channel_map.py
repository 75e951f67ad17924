"""Channel maps: the class of each channel of a value, and which channels are constant.

A map has one entry per index along the channel axes of a value and size 1 along every other axis, so
that it broadcasts against the value: a Conv output `(N, C, H, W)` has a map of shape `(1, C, 1, 1)`;
after a Reshape to `(N, g, C/g, H, W)` the map has shape `(1, g, C/g, 1, 1)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np

from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason
from upscale_onnx.types import BoolArray, Dims, FloatArray, IntArray

# The content of a channel is one float: a finite number is that constant, NaN is "varies with the
# input", infinity is "may be NaN or infinite at run time", about which nothing may be assumed.
VARYING = float("nan")
WILD = float("inf")


class Wild(Enum):
    """What `WILD` channels of a value may hold beside finite numbers. Every rule may take each kind as `ANYTHING`."""

    ANYTHING = auto()
    """NaN and infinities."""
    LOWERED = auto()
    """Minus infinity: an attention mask, or a sum with one."""
    MASKED = auto()
    """Minus infinity, but not in all entries of any row along the last axis."""
    UNDEFINED = auto()
    """NaN, but no infinity."""

    @staticmethod
    def of_any(kinds: Iterable[Wild]) -> Wild:
        """What a value holds whose elements each come from one of several values. Rows may have been rearranged."""
        found = {Wild.LOWERED if kind is Wild.MASKED else kind for kind in kinds}
        return found.pop() if len(found) == 1 else Wild.ANYTHING


@dataclass(frozen=True)
class Merged:
    """An axis whose size at run time is a multiple of that of the map.

    runs: whether each channel fills a run of the axis (an image behind each channel); otherwise the channels follow one
    another again and again (heads, for each element of a batch).
    """

    axis: int
    runs: bool = False

    def at(self, axis: int) -> Merged:
        """The same on another axis."""
        return replace(self, axis=axis)


@dataclass(frozen=True)
class Copies:
    """Channels that all hold what one value of a single channel holds.

    where: `(…)` like the map, which channels these are. value: nodes that compute the value from values of the graph.
    depth: how many nodes stand one behind the other.
    """

    where: BoolArray
    value: NewNode
    depth: int = 1


@dataclass(frozen=True)
class ChannelMap:
    """Channel classes and contents of one value.

    labels: class ids, one per index along the channel axes, size 1 along the other axes.
    state: same shape; a finite number (constant), `VARYING` or `WILD`.
    at_point: same shape; which channels hold a zero point that is computed at run time. None: none is known to.
    point: the class of that zero point.
    wild: what `WILD` channels may hold.
    table: whether the channels are columns of a table, as they are looked up in it.
    merged: the axis on which channels are merged with a dynamic size. None: there is no such axis.
    copies: channels that vary, but are known to be the same. None: none are known.
    levels: what channels hold that is the same for all inputs, to be broadcast to the value: other numbers at other
    places, NaN for channels that vary. None: the contents say all that is known.
    places: the sizes behind the channel axis of the value in which the numbers are places, all of its axes counted
    through (the indices of a MaxPool). None: the numbers are no such places.
    """

    labels: IntArray
    state: FloatArray
    at_point: BoolArray | None = None
    point: int = -1
    wild: Wild = Wild.ANYTHING
    merged: Merged | None = None
    table: bool = False
    copies: Copies | None = None
    levels: FloatArray | None = None
    places: Dims | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the map: the channel count along channel axes, else 1."""
        return self.labels.shape

    @property
    def rank(self) -> int:
        """Rank of the value."""
        return self.labels.ndim

    @property
    def axes(self) -> tuple[int, ...]:
        """The channel axes: those along which the map has more than one entry."""
        return tuple([axis for axis, size in enumerate(self.labels.shape) if size > 1])

    @property
    def has_channels(self) -> bool:
        """Whether there is a channel axis."""
        return self.labels.size > 1

    def along(self, axis: int, size: int) -> tuple[IntArray, FloatArray]:
        """Labels and states of the `size` indices of `axis`, as vectors. The map must have no other channel axis."""
        if self.labels.size == size:
            return self.labels.ravel(), self.state.ravel()
        return np.broadcast_to(self.labels.ravel(), (size,)), np.broadcast_to(self.state.ravel(), (size,))

    def with_state(self, state: FloatArray) -> ChannelMap:
        """This map with other contents."""
        return ChannelMap(self.labels, state, merged=self.merged)

    def resolved(self, roots: IntArray) -> ChannelMap:
        """This map with each class id replaced by its root in `roots`."""
        point = self.point if self.at_point is None else int(roots[self.point])
        return replace(self, labels=roots[self.labels], point=point)


def known_map(found: ChannelMap | None, what: str = "the input") -> ChannelMap:
    """The map itself. Raises `Refused` where there is none: the rank of `what`, for the message, is not known then."""
    if found is None:
        raise Refused(Reason.UNKNOWN_SHAPE, f"rank of {what} is not known")
    return found


def vector_map(labels: IntArray, state: FloatArray, rank: int, axis: int) -> ChannelMap:
    """A map of `rank` axes whose only channel axis is `axis`."""
    shape = [1] * rank
    shape[axis] = labels.size
    return ChannelMap(labels.reshape(shape), np.asarray(state, np.float64).reshape(shape))


def varying(shape: Sequence[int]) -> FloatArray:
    """States of channels that vary with the input."""
    return np.full(tuple(shape), VARYING)


def is_constant(state: FloatArray) -> BoolArray:
    """Where a channel is known to hold one finite number."""
    return np.isfinite(state)


def is_wild(state: FloatArray) -> BoolArray:
    """Where a channel may hold NaN or infinity."""
    return np.isinf(state)


def collapse(labels: IntArray, state: FloatArray, keep: Sequence[int] = ()) -> ChannelMap:
    """The map with size 1 along every axis along which the labels do not change, except the axes `keep`.

    Contents that differ along such an axis become `VARYING`, or `WILD` where one of them is wild.
    """
    for axis in range(labels.ndim):
        if labels.shape[axis] <= 1 or axis in keep:
            continue
        first = labels.take([0], axis)
        if not (labels == first).all():
            continue
        head = state.take([0], axis)
        same = ((state == head) | (np.isnan(state) & np.isnan(head))).all(axis, keepdims=True)
        mixed = np.where(is_wild(state).any(axis, keepdims=True), WILD, VARYING)
        labels, state = first, np.where(same, head, mixed)
    return ChannelMap(labels, state)
