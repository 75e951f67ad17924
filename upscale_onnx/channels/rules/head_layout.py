"""Where the features of heads lie in the values that an attention operator reads and makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Misaligned
from upscale_onnx.channels.grid import written_out
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.room import check_room
from upscale_onnx.errors import Reason
from upscale_onnx.types import FloatArray, IntArray

Size = tuple[int, int]
"""How many heads there are, and how many features each has."""


class Layout(Enum):
    """How parts of a value, each a grid of heads and features, are laid out."""

    MERGED = auto()
    """`(batch, length, heads·features)`: the parts stand one behind the other on the last axis."""
    APART = auto()
    """`(batch, heads, length, features)`, of one part."""
    STACKED = auto()
    """`(batch, length, heads, parts, features)`, of parts of one size."""

    def places(self, sizes: Sequence[Size]) -> tuple[tuple[int, ...], list[IntArray]]:
        """The shape of the channel map of a value with parts of these sizes, and the flat positions of each part in
        it, `(heads, features)` each."""
        heads, features = sizes[0]
        if self is Layout.APART:
            return (1, heads, 1, features), [_grid(heads, features)]
        if self is Layout.STACKED:
            flat = np.arange(heads * len(sizes) * features, dtype=np.int64).reshape(heads, len(sizes), features)
            return (1, 1, heads, len(sizes), features), [flat[:, part] for part in range(len(sizes))]
        starts = np.cumsum([0, *(count * size for count, size in sizes)])
        grids = [_grid(*size) + start for size, start in zip(sizes, starts[:-1], strict=True)]
        return (1, 1, int(starts[-1])), grids


def _grid(heads: int, features: int) -> IntArray:
    return np.arange(heads * features, dtype=np.int64).reshape(heads, features)


@dataclass(frozen=True, eq=False)
class Grid:
    """The classes and contents of the features of heads, `(heads, features)` each."""

    labels: IntArray
    state: FloatArray


@dataclass(frozen=True, eq=False)
class Held:
    """What a part of a value still holds. heads: `(heads left,)`. features: `(heads left, features left)`, those of
    each head that are left."""

    heads: IntArray
    features: IntArray

    @property
    def size(self) -> Size:
        """How many heads and features are left."""
        return self.features.shape[0], self.features.shape[1]

    def flat(self, features: int) -> IntArray:
        """The positions of what is left among `features` for each head, `(heads left, features left)`."""
        return self.heads[:, None] * features + self.features


def grids(found: ChannelMap, layout: Layout, sizes: Sequence[Size]) -> list[Grid]:
    """The parts of a value. Raises `Refused` where its map does not fit them."""
    shape, places = layout.places(sizes)
    fits = found.rank == len(shape) and all(own in (1, size) for own, size in zip(found.shape, shape, strict=True))
    if not fits:
        raise Refused(Reason.MIXED_LAYOUT, f"channels of shape {found.shape} where heads are {list(sizes)}")
    check_room(*shape)
    labels, state = np.broadcast_to(found.labels, shape).ravel(), np.broadcast_to(found.state, shape).ravel()
    return [Grid(labels[part], state[part]) for part in places]


def held(found: ChannelMap, emission: IntArray, layout: Layout, sizes: Sequence[Size]) -> list[Held]:
    """What the parts of a value with this emission hold. Raises `Misaligned` where heads differ in size."""
    shape, places = layout.places(sizes)
    given = written_out(emission, found.shape, shape)
    parts = [_part(given.ravel(), part, found) for part in places]
    wanted, where = layout.places([part.size for part in parts])
    if given.shape != wanted:
        raise Misaligned(found.labels)
    for part, place, old in zip(parts, where, places, strict=True):
        if not np.array_equal(given.ravel()[place], old[part.heads[:, None], part.features]):
            raise Misaligned(found.labels)
    return parts


def _part(given: IntArray, places: IntArray, found: ChannelMap) -> Held:
    """What is left of one part, in the order in which it is there."""
    slot = np.full(int(max(given.max(initial=0), places.max())) + 1, -1, np.int64)
    slot[places.ravel()] = np.arange(places.size)
    entries = slot[given]
    entries = entries[entries >= 0]
    owner = entries // places.shape[1]
    count = int((np.diff(owner, prepend=-1) != 0).sum())
    if count == 0 or entries.size % count or (owner.reshape(count, -1) != owner.reshape(count, -1)[:, :1]).any():
        raise Misaligned(found.labels)
    return Held(owner.reshape(count, -1)[:, 0], (entries % places.shape[1]).reshape(count, -1))
