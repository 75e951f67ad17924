"""Integers of less than eight bits, several in a byte: the first one in the lowest bits."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array, IntArray

_BYTE = 8


def unpacked(packed: Array, bits: int, count: int) -> IntArray:
    """The first `count` integers along the last axis of bytes `packed`."""
    shifts = np.arange(0, _BYTE, bits)
    parts = packed.astype(np.int64)[..., None] >> shifts & (1 << bits) - 1
    integers: IntArray = parts.reshape(*packed.shape[:-1], -1)[..., :count]
    return integers


def packed(integers: IntArray, bits: int) -> Array:
    """The integers as bytes along the last axis; zeros fill the last byte."""
    shifts = np.arange(0, _BYTE, bits)
    missing = -integers.shape[-1] % shifts.size
    padded = np.pad(integers, [*[(0, 0)] * (integers.ndim - 1), (0, missing)])
    parts = padded.reshape(*padded.shape[:-1], -1, shifts.size) << shifts
    content: Array = parts.sum(-1).astype(np.uint8)
    return content
