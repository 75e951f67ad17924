"""Sizes as numbers, where a model leaves some of them open."""

from __future__ import annotations

import math
from collections.abc import Sequence

from upscale_onnx.types import Dim


def size_of(dim: Dim, unknown: int = 1) -> int:
    """A dimension as a number. A dynamic or unknown one counts as `unknown`."""
    return dim if isinstance(dim, int) and dim > 0 else unknown


def sizes_of(dims: Sequence[Dim], batch: int = 1) -> tuple[int, ...]:
    """The dimensions of a value as numbers: the first counts as `batch` where it is open, any other as 1."""
    return tuple(size_of(dim, batch if axis == 0 else 1) for axis, dim in enumerate(dims))


def elements_of(dims: Sequence[Dim], batch: int = 1) -> int:
    """How many elements a value of these dimensions has, with open dimensions counted as above."""
    return math.prod(sizes_of(dims, batch))
