"""Values for graph inputs: dense floats, and integers in the range that the graph shows to be legal."""

from __future__ import annotations

from typing import Any

import numpy as np

from upscale_onnx.proof.draws import Draw
from upscale_onnx.runtime.roles import InputRole


def graph_input(name: str, known: Any, shape: tuple[int, ...], role: InputRole, draw: Draw) -> Any:
    """A value for the graph input `name`, with the type of its value `known`. Floats have the given `shape`.

    `known` itself is returned if the graph reads it as a size, or if its legal range is unknown.
    """
    if not isinstance(known, np.ndarray) or role.size is not None:
        return known
    if known.dtype.kind == "f":
        return draw.value(name, shape, known.dtype, None)
    rng = np.random.default_rng([draw.seed, draw.number, len(name)])
    if role.below is not None:
        return rng.integers(0, role.below, known.shape).astype(known.dtype)
    if known.dtype.kind == "b" and known.size == 1:
        return draw.value(name, known.shape, known.dtype, None)
    if known.dtype.kind == "b":
        return rng.integers(0, 2, known.shape).astype(bool)
    if known.dtype.kind in "iu" and known.dtype.itemsize == 1:
        limits = np.iinfo(known.dtype)
        return rng.integers(limits.min, limits.max, known.shape, known.dtype, endpoint=True)
    return known
