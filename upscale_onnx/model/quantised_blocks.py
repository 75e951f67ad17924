"""Weights with a scale for each block along one axis: a cut of whole blocks is stored as a cut of what was stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from upscale_onnx.types import Array


@dataclass(frozen=True, eq=False)
class StoredBlocks:
    """A quantised weight. values: the stored numbers. scale, point: those of blocks of `size` along `axis`; point None
    where it is left out. made: the dequantised weight."""

    values: Array
    scale: Array
    point: Array | None
    made: Array
    axis: int
    size: int

    def cut(self, wanted: Array) -> StoredBlocks | None:
        """The blocks that make `wanted`, which holds some of them and blocks of zeros; None where it holds others."""
        places = {content: place for place, content in self._blocks(self.made)}
        shape = list(wanted.shape)
        shape[self.axis] = -(-shape[self.axis] // self.size)
        values, scale = np.empty(wanted.shape, self.values.dtype), np.empty(shape, self.scale.dtype)
        point = None if self.point is None else np.empty(shape, self.point.dtype)
        first = next(iter(places.values()), None)
        for place, content in self._blocks(wanted):
            known = places.get(content)
            found = known or (first if not any(content) else None)
            if found is None:
                return None
            scale[place] = self.scale[found]
            if point is not None and self.point is not None:
                point[place] = self.point[found]
            there, here = self._span(found), self._span(place)
            zero = 0 if self.point is None else self.point[found]
            values[here] = self.values[there] if known is not None else zero
        return StoredBlocks(values, scale, point, wanted, self.axis, self.size)

    def _blocks(self, made: Array) -> Iterator[tuple[tuple[int, ...], bytes]]:
        """The place and the content of each block of a weight."""
        counts = list(made.shape)
        counts[self.axis] = -(-counts[self.axis] // self.size)
        for place in np.ndindex(*counts):
            yield place, made[self._span(place)].tobytes()

    def _span(self, place: tuple[int, ...]) -> tuple[int | slice, ...]:
        start = place[self.axis] * self.size
        return (*place[: self.axis], slice(start, start + self.size), *place[self.axis + 1 :])
