"""Workloads: all that the time of a contraction depends on, except its channel counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upscale_onnx.model.contractions import weight_layout
from upscale_onnx.model.operators import CONTRACTIONS, MATRIX_PRODUCTS
from upscale_onnx.model.padding import SAME, same_pads

BLOCKED, PLAIN = "blocked", "plain"
_UNALIGNED = 4  # onnxruntime does not use the blocked layout for numbers of input channels that are no multiple of this

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Workload:
    """A contraction without its channel counts.

    op_type: Conv, ConvTranspose, Gemm or MatMul.
    layout: "blocked" (channels in blocks) or "plain".
    rows: the batch size; for Gemm and MatMul the product of all dimensions but the last.
    spatial: the sizes of the spatial axes of the input.
    window, strides, dilations: one number per spatial axis.
    pads: the padding at the begin of each spatial axis, then that at the end of each.
    per_group: the input and output channels of each group, () if there is one group.
    dtype: the element type, as numpy calls it.
    """

    op_type: str
    layout: str
    rows: int
    spatial: Sizes = ()
    window: Sizes = ()
    strides: Sizes = ()
    dilations: Sizes = ()
    pads: Sizes = ()
    per_group: Sizes = ()
    dtype: str = "float32"

    @property
    def key(self) -> str:
        """The workload as text, which `parse_workload` reads."""
        sizes = (self.spatial, self.window, self.strides, self.dilations, self.pads, self.per_group)
        return "/".join((self.op_type, self.layout, str(self.rows), *map(_text, sizes), self.dtype))

    @property
    def out_spatial(self) -> Sizes:
        """The sizes of the spatial axes of the output, without output padding."""
        rank = len(self.spatial)
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilations, self.window, strict=True)]
        pads = [self.pads[i] + self.pads[rank + i] for i in range(rank)]
        if self.op_type == "ConvTranspose":
            return tuple(
                (n - 1) * s + r - p for n, s, r, p in zip(self.spatial, self.strides, reach, pads, strict=True)
            )
        return tuple((n + p - r) // s + 1 for n, s, r, p in zip(self.spatial, self.strides, reach, pads, strict=True))

    def macs(self, channels_in: float, channels_out: float) -> float:
        """The multiply-accumulates with these channel counts."""
        pairs = channels_out * (self.per_group[0] if self.per_group else channels_in)
        positions = self.spatial if self.op_type == "ConvTranspose" else self.out_spatial
        return float(pairs * self.rows * math.prod(positions) * math.prod(self.window))


def parse_workload(key: str) -> Workload:
    """The workload with this `key`.

    Raises:
        ValueError: there is none.
    """
    op_type, layout, rows, *sizes, dtype = key.split("/")
    spatial, window, strides, dilations, pads, per_group = (_sizes(text) for text in sizes)
    found = Workload(op_type, layout, int(rows), spatial, window, strides, dilations, pads, per_group, dtype)
    rank = len(spatial)
    if {len(window), len(strides), len(dilations)} != {rank} or len(pads) != 2 * rank or len(per_group) not in (0, 2):
        raise ValueError(f"sizes of different rank in {key!r}")
    known = op_type in CONTRACTIONS and layout in (BLOCKED, PLAIN)
    if not known or min((found.rows, *found.strides)) < 1:
        raise ValueError(f"no contraction: {key!r}")
    return found


def contraction_workload(
    op_type: str, attrs: Mapping[str, Any], in_dims: Sequence[int], weight: Sequence[int], layout: str, dtype: str
) -> Workload | None:
    """The workload of a node that reads a value of shape `in_dims`; None if it cannot be told.

    weight: the shape of the node's weight.
    """
    kind, lies = op_type.removeprefix("Fused"), weight_layout(op_type, attrs, len(weight))
    if not in_dims or lies is None:
        return None
    if kind in MATRIX_PRODUCTS:
        return Workload(kind, PLAIN, math.prod(in_dims[:-1]), dtype=dtype)
    if len(in_dims) != len(weight):
        return None
    window, rank = tuple(weight[2:]), len(in_dims) - 2
    strides = _attribute(attrs, "strides", (1,) * rank)
    dilations = _attribute(attrs, "dilations", (1,) * rank)
    spatial = tuple(in_dims[2:])
    pads = _pads(attrs, spatial, window, strides, dilations)
    if not (len(strides) == len(dilations) == rank and len(pads) == 2 * rank) or min(strides) < 1:
        return None
    per_group = lies.per_group(weight) if lies.group > 1 else ()
    found = Workload(kind, layout, in_dims[0], spatial, window, strides, dilations, pads, per_group, dtype)
    return found if min(found.out_spatial) > 0 else None


def conv_layout(channels_in: int, channels_out: int, group: int, block: int) -> str:
    """The layout, "blocked" or "plain", in which onnxruntime's CPU provider computes a two-dimensional float32 Conv.

    block: the number of channels in a block.
    """
    per_in, per_out = channels_in // max(group, 1), channels_out // max(group, 1)
    if group > 1:
        if per_in == 1 and per_out == 1:
            return BLOCKED if channels_out % _UNALIGNED == 0 else PLAIN
        return PLAIN if per_in % block or per_out % block else BLOCKED
    return BLOCKED if channels_in < block or channels_in % _UNALIGNED == 0 else PLAIN


def _pads(attrs: Mapping[str, Any], spatial: Sizes, window: Sizes, strides: Sizes, dilations: Sizes) -> Sizes:
    auto = attrs.get("auto_pad", "NOTSET")
    auto = auto.decode() if isinstance(auto, bytes) else str(auto)
    if auto not in SAME:
        return _attribute(attrs, "pads", (0,) * (2 * len(spatial)))
    pads = same_pads(auto, spatial, window, strides, dilations)
    return tuple(before for before, _ in pads) + tuple(behind for _, behind in pads)


def _attribute(attrs: Mapping[str, Any], name: str, default: Sizes) -> Sizes:
    return tuple(int(value) for value in attrs.get(name, default))


def _text(sizes: Sizes) -> str:
    return "x".join(map(str, sizes))


def _sizes(text: str) -> Sizes:
    return tuple(int(part) for part in text.split("x")) if text else ()
