"""The steps between a stored constant and what a node reads, taken back."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from onnx import helper

from upscale_onnx.model.constants import Origin
from upscale_onnx.types import Array


def types_before(origin: Origin) -> list[np.dtype[np.generic] | None]:
    """The type in front of each step from the origin; None where it is not known."""
    types: list[np.dtype[np.generic] | None] = []
    current = np.dtype(origin.dtype) if isinstance(origin.dtype, np.dtype | type) else None
    for place, step in enumerate(origin.way):
        types.append(current)
        if step.op == "Cast":
            current = np.dtype(helper.tensor_dtype_to_np_dtype(int(step.attrs["to"])))
        if place in origin.quantisers:
            current = origin.quantisers[place].made
    return types


def uncast(values: Array, dtype: np.dtype[np.generic] | None) -> Array | None:
    """The values in the type from which they were cast; None where that is no smaller or cannot hold them."""
    if dtype is None or dtype.itemsize >= values.dtype.itemsize:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        before = values.astype(dtype)
    return before if before.astype(values.dtype).tobytes() == values.tobytes() else None


def untransposed(values: Array, step: gs.Node) -> Array | None:
    """The values in front of a Transpose; None where its permutation does not fit."""
    perm = step.attrs.get("perm") or list(range(values.ndim))[::-1]
    return values.transpose(np.argsort(perm)) if len(perm) == values.ndim else None
