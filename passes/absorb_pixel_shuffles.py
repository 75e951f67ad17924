"""Replace a pixel shuffle written as Reshape-Transpose-Reshape by the DepthToSpace that does the same.

In the first form a channel becomes part of two spatial axes, which no channel map can express. DepthToSpace has a rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from onnx import TensorProto

from upscale_onnx.passes.absorb_shuffles import Chain, chains, first_dims, numbered, rearranged, sizes_of
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.types import IntArray

_FIRST_OPSET_WITH_MODES = 11
_TYPES = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


@dataclass(frozen=True)
class AbsorbPixelShuffles(Pass):
    """Replaces pixel shuffles by DepthToSpace."""

    purpose: ClassVar = "a Reshape-Transpose-Reshape that moves channels into the image becomes a DepthToSpace"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        replaced = 0
        for chain in chains(rewrite.analysis):
            found = _pixel_shuffle(chain)
            if found is None:
                continue
            node = chain[-1].node
            node.op, node.attrs = "DepthToSpace", found
            node.inputs = [chain[0].node.inputs[0]]
            replaced += 1
        return Changes(replaced)


def _pixel_shuffle(chain: Chain) -> dict[str, str | int] | None:
    """The attributes of the DepthToSpace that does the same as the chain; None where there is none."""
    first, last, found = chain[0].op, chain[-1].op, chain[0].maps[0]
    if found is None or found.axes != (1,) or found.rank != 4 or first.dtypes[0] not in _TYPES:
        return None
    numbers = numbered(first_dims(chain) or ())
    sizes, moved = sizes_of(first_dims(chain), numbers), rearranged(chain, numbers)
    target = None if moved is None else sizes_of(last.out_dims[0], numbers, moved.size)
    if first.opset < _FIRST_OPSET_WITH_MODES or sizes is None or target is None or len(target) != 4:
        return None
    block = target[2] // max(sizes[2], 1)
    if block < 2 or target != [sizes[0], sizes[1] // block**2, sizes[2] * block, sizes[3] * block]:
        return None
    if moved is None or moved.shape != tuple(target):
        return None
    for mode in ("CRD", "DCR"):
        if np.array_equal(moved, _depth_to_space(sizes, block, mode)):
            return {"blocksize": block, "mode": mode}
    return None


def _depth_to_space(sizes: list[int], block: int, mode: str) -> IntArray:
    """The flat input position of every element of a DepthToSpace's result, for an input of `sizes`."""
    n, c, h, w = sizes
    start = np.arange(n * c * h * w, dtype=np.int64)
    if mode == "CRD":
        apart = start.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        apart = start.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    return apart.reshape(n, c // block**2, h * block, w * block)
