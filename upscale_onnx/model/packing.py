"""Integers of less than eight bits, several in a byte: the first one in the lowest bits."""

from __future__ import annotations

import numpy as np

from upscale_onnx.types import Array

_BYTE = 8


def unpacked(packed: Array, bits: int, count: int) -> Array:
    """The first `count` integers along the last axis of bytes `packed`, each as a byte."""
    shifts, mask = np.arange(0, _BYTE, bits, dtype=np.uint8), np.uint8((1 << bits) - 1)
    parts = packed[..., None] >> shifts & mask
    integers: Array = parts.reshape(*packed.shape[:-1], -1)[..., :count]
    return integers


def packed(integers: Array, bits: int) -> Array:
    """The integers as bytes along the last axis; zeros fill the last byte."""
    shifts = np.arange(0, _BYTE, bits)
    missing = -integers.shape[-1] % shifts.size
    padded = np.pad(integers, [*[(0, 0)] * (integers.ndim - 1), (0, missing)])
    parts = padded.reshape(*padded.shape[:-1], -1, shifts.size) << shifts
    content: Array = parts.sum(-1).astype(np.uint8)
    return content
