"""Dimensions as numbers, for models in which some of them are dynamic or unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from upscale_onnx.types import Dim


def size_of(dim: Dim, unknown: int = 1) -> int:
    """A dimension as a number. A dynamic or unknown one counts as `unknown`."""
    return dim if isinstance(dim, int) and dim > 0 else unknown


def sizes_of(dims: Sequence[Dim], batch: int = 1) -> tuple[int, ...]:
    """The dimensions of a value as numbers. If dynamic or unknown, the first counts as `batch`, any other as 1."""
    return tuple(size_of(dim, batch if axis == 0 else 1) for axis, dim in enumerate(dims))


def elements_of(dims: Sequence[Dim], batch: int = 1) -> int:
    """The number of elements of a value with these dimensions, counted as in `sizes_of`."""
    return math.prod(sizes_of(dims, batch))
