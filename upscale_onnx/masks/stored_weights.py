"""Quantised weights as a model stores them, and other values written into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from upscale_onnx.masks.few_bits import FewBits
from upscale_onnx.masks.number_grid import NumberGrid
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.types import Array

Tensors = Mapping[str, TensorProto]
_QUANTISED = frozenset(
    getattr(TensorProto, name)
    for name in ("INT4", "UINT4", "INT8", "UINT8", "INT16", "UINT16", "FLOAT8E4M3FN", "FLOAT8E5M2")
)


class StoredWeight(Protocol):
    """How a model stores one weight."""

    def rounded(self, tensors: Tensors, values: Array) -> Array:
        """The numbers that `write` stores for `values`, in float64."""

    def write(self, tensors: Tensors, values: Array) -> Array:
        """Store the nearest numbers to `values`, with larger scales where they are out of range.

        Returns the factor by which each scale has grown, (scales,).
        """

    def write_zeros(self, tensors: Tensors, gone: Array, exactly: bool) -> None:
        """Store zeros where `gone` says so: `exactly` there, or as far as the form of the weight can shrink."""


@dataclass(frozen=True)
class StoredSlices:
    """A weight with a scale for all of its numbers, or for each slice along an axis.

    name: that of the weight. scales: the names of the scales, whose product is the scale. point: that of the zero
    point, "" without one. axis: that of the slices. is_free: whether the scale is one tensor that nothing else reads,
    so that it may change.
    """

    name: str
    scales: tuple[str, ...]
    point: str
    axis: int
    is_free: bool

    def rounded(self, tensors: Tensors, values: Array) -> Array:
        """As in `StoredWeight`."""
        grid = self._grid(tensors, values)
        return grid.made(grid.stored(values))

    def write(self, tensors: Tensors, values: Array) -> Array:
        """As in `StoredWeight`."""
        before, grid = self._grid(tensors), self._grid(tensors, values)
        replace_values(tensors[self.name], grid.stored(values))
        if self.is_free:
            replace_values(tensors[self.scales[0]], grid.scale)
        return grid.growth(before)

    def write_zeros(self, tensors: Tensors, gone: Array, exactly: bool) -> None:
        """As in `StoredWeight`. All can shrink."""
        stored = np.array(numpy_helper.to_array(tensors[self.name]))
        stored[gone] = self._grid(tensors).stored(np.zeros(stored.shape))[gone]
        replace_values(tensors[self.name], stored)

    @property
    def follows(self) -> bool:
        """Whether the scale of this bias can stay the product of those of its layer's input and weight."""
        return self.is_free or len(self.scales) > 1

    def enlarge(self, tensors: Tensors, growth: Array) -> None:
        """Multiply scales that may change by `growth`, (scales,) or (1,)."""
        scale = numpy_helper.to_array(tensors[self.scales[0]])
        if self.is_free and growth.size in (1, scale.size):
            replace_values(tensors[self.scales[0]], (scale.reshape(-1) * growth).astype(scale.dtype))

    def _grid(self, tensors: Tensors, values: Array | None = None) -> NumberGrid:
        """The numbers that the weight can hold; with larger scales, if they may change and `values` need them."""
        weight = numpy_helper.to_array(tensors[self.name])
        scale = reduce(np.multiply, (numpy_helper.to_array(tensors[each]).reshape(-1) for each in self.scales))
        point = numpy_helper.to_array(tensors[self.point]).reshape(-1) if self.point else None
        grid = NumberGrid.of(scale, point, weight.dtype, self.axis, weight.ndim)
        return grid if values is None or not self.is_free else grid.widened(values)


@dataclass(frozen=True)
class StoredBlocks:
    """The weight of a MatMulNBits.

    name, scale: the names of the weight and of its scales. few: what they hold. is_free: whether nothing else reads the
    scales, so that they may change.
    """

    name: str
    scale: str
    few: FewBits
    is_free: bool

    def rounded(self, tensors: Tensors, values: Array) -> Array:
        """As in `StoredWeight`."""
        return self.few.holding(values, self.is_free).values.astype(np.float64)

    def write(self, tensors: Tensors, values: Array) -> Array:
        """As in `StoredWeight`."""
        found = self.few.holding(values, self.is_free)
        replace_values(tensors[self.name], found.content)
        replace_values(tensors[self.scale], found.scale)
        return np.ones(0)

    def write_zeros(self, tensors: Tensors, gone: Array, exactly: bool) -> None:
        """As in `StoredWeight`: outputs shrink, and whole blocks of inputs."""
        found = self.few.emptied(gone) if exactly else self.few.without(gone)
        replace_values(tensors[self.name], found.content)


def replace_values(tensor: TensorProto, values: Array) -> None:
    """Replace the values of `tensor`; its shape, name and description stay."""
    made = numpy_helper.from_array(np.asarray(values).reshape(tuple(tensor.dims)), tensor.name)
    made.doc_string = tensor.doc_string
    tensor.CopyFrom(made)


def quantised_weights(model: ModelProto) -> tuple[str, ...]:
    """The names of matrices of quantised numbers that nodes of `model` read, other than tables of embeddings."""
    tensors = constant_tensors(model)
    read = [name for node in model.graph.node if not node.op_type.startswith("Gather") for name in node.input]
    return tuple(
        name
        for name in dict.fromkeys(read)
        if name in tensors and len(tensors[name].dims) > 1 and tensors[name].data_type in _QUANTISED
    )
