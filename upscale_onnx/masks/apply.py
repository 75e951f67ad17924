"""Reading a mask from a weight, and writing it into one."""

from __future__ import annotations

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array, BoolArray


def used_channels(weight: Array, axis: int | None) -> BoolArray:
    """Which channels along `axis` hold a value other than zero, of shape (weight.shape[axis],)."""
    others = tuple(number for number in range(weight.ndim) if number != axis)
    return np.asarray((weight != 0).any(axis=others))


def zero_channels(weight: Array, axis: int, kept: BoolArray) -> Array:
    """Return a copy of `weight` with zeros in the channels along `axis` that `kept` (True = kept) prunes.

    kept: of shape (weight.shape[axis],).

    Raises: ArgumentError where `kept` has another shape.
    """
    channels = weight.shape[axis]
    if kept.shape != (channels,):
        raise ArgumentError(f"a mask of shape {kept.shape} does not fit the {channels} channels of axis {axis}")
    zeroed: Array = np.array(weight)
    np.moveaxis(zeroed, axis, 0)[~kept] = 0
    return zeroed
