"""The weights of a mixture of experts, as onnxruntime's MoE and QMoE hold them: which entries are zero, and cuts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from upscale_onnx.model.packing import packed, unpacked
from upscale_onnx.types import Array, BoolArray, IntArray

BYTE = 8


@dataclass(frozen=True, eq=False)
class Weights(ABC):
    """A matrix and a bias for each expert. at: the index of the weight among the inputs, `bias_at`: that of the bias.
    bias: `(E, outputs)`, None where there is none. content: the matrices as the node holds them."""

    at: int
    bias_at: int
    bias: Array | None
    content: Array

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """The experts, and the outputs and inputs of each."""

    @property
    @abstractmethod
    def unit(self) -> int:
        """How many inputs, one after the other, stay or go together."""

    @abstractmethod
    def reading(self, expert: int) -> BoolArray:
        """`(outputs, inputs)`: where the matrix of an expert is not zero."""

    @abstractmethod
    def cut(self, rows: IntArray, columns: IntArray) -> dict[int, Array]:
        """The constants, by index, that hold outputs `rows` `(E, …)` and inputs `columns` `(E, …)` of each expert."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """The type of what the node computes."""

    @property
    @abstractmethod
    def values(self) -> Array:
        """`(E, outputs, inputs)`: the numbers that the matrices stand for."""

    @abstractmethod
    def holding(self, values: Array) -> Weights:
        """With the nearest numbers to `values` `(E, outputs, inputs)` that the node can hold."""

    @abstractmethod
    def emptied(self, gone: BoolArray, exactly: bool) -> dict[int, Array]:
        """The constants, by index, with zeros where entries are `gone` `(E, outputs, inputs)`: `exactly` there, or as
        far as the node can shrink, in few bits by as many whole units of inputs as there are inputs without entries."""

    def biased(self, expert: int) -> BoolArray:
        """`(outputs,)`: where the bias of an expert is not zero."""
        return np.zeros(self.shape[1], bool) if self.bias is None else self.bias[expert] != 0

    def _cut_bias(self, rows: IntArray) -> dict[int, Array]:
        return {} if self.bias is None else {self.bias_at: np.take_along_axis(self.bias, rows, 1)}


@dataclass(frozen=True, eq=False)
class Floats(Weights):
    @property
    def shape(self) -> tuple[int, int, int]:
        experts, outputs, inputs = self.content.shape
        return experts, outputs, inputs

    @property
    def unit(self) -> int:
        return 1

    def reading(self, expert: int) -> BoolArray:
        return np.asarray(self.content[expert] != 0)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.content.dtype

    @property
    def values(self) -> Array:
        return self.content

    def holding(self, values: Array) -> Weights:
        return replace(self, content=values.astype(self.content.dtype))

    def emptied(self, gone: BoolArray, exactly: bool) -> dict[int, Array]:
        constants = {self.at: np.where(gone, self.content.dtype.type(0), self.content)}
        if self.bias is not None:
            constants[self.bias_at] = np.where(gone.all(-1), self.bias.dtype.type(0), self.bias)
        return constants

    def cut(self, rows: IntArray, columns: IntArray) -> dict[int, Array]:
        return {self.at: _picked(self.content, rows, columns), **self._cut_bias(rows)}


@dataclass(frozen=True, eq=False)
class FewBits(Weights):
    """content: `(E, outputs, bytes)`. scales, points: `(E, outputs, blocks)`, for each block of `block` inputs; points
    are None where they are left out. kept: the indices of scales and points among the inputs, and their ranks."""

    bits: int
    block: int
    scales: Array
    points: Array | None
    kept: Mapping[str, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        experts, outputs, size = self.content.shape
        return experts, outputs, size * BYTE // self.bits

    @property
    def unit(self) -> int:
        return self.block if self._in_blocks else BYTE // self.bits

    @property
    def _in_blocks(self) -> bool:
        return self.kept["rank"] == 3

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.scales.dtype

    @property
    def values(self) -> Array:
        steps = self._steps.astype(np.float32) - self._point
        made: Array = (steps * self.scales.astype(np.float32).repeat(self.block, -1)).astype(self.dtype)
        return made

    def reading(self, expert: int) -> BoolArray:
        one = replace(self, content=self.content[expert], points=None if self.points is None else self.points[expert])
        return np.asarray((one._steps != one._point) & (self.scales[expert] != 0).repeat(self.block, -1))

    def holding(self, values: Array) -> Weights:
        scales = self.scales.astype(np.float64).repeat(self.block, -1)
        steps = values / np.where(scales == 0, 1.0, scales) + self._point
        return replace(self, content=self._packed(np.clip(np.rint(steps), 0, (1 << self.bits) - 1)))

    def emptied(self, gone: BoolArray, exactly: bool) -> dict[int, Array]:
        if exactly:
            return {self.at: self._packed(np.where(gone, self._point, self._steps))}
        lost = gone.all(1).reshape(len(gone), -1, self.unit).sum(-1)
        norms = np.abs(self.values).sum(1, np.float64).reshape(*lost.shape, self.unit).sum(-1)
        # Those that lose the most go, and of these the smallest.
        ranks = np.lexsort((norms, -lost)).argsort(-1)
        units = ranks < lost.sum(-1, keepdims=True) // self.unit
        steps = np.where(units.repeat(self.unit, -1)[:, None], self._point, self._steps)
        return {self.at: self._packed(steps)}

    def cut(self, rows: IntArray, columns: IntArray) -> dict[int, Array]:
        each = BYTE // self.bits
        bytes_left = columns[:, ::each] // each
        blocks = columns[:, :: self.block] // self.block if self._in_blocks else columns[:, :1] * 0
        constants = {self.at: _picked(self.content, rows, bytes_left), **self._cut_bias(rows)}
        constants[self.kept["scales"]] = self._stored(_picked(self.scales, rows, blocks))
        if self.points is not None:
            points = self._stored(_picked(self.points, rows, blocks))
            constants[self.kept["points"]] = packed(points, self.bits)
        return constants

    @property
    def _steps(self) -> Array:
        """The integers, of which `_point` stands for 0."""
        return unpacked(self.content, self.bits, self.content.shape[-1] * BYTE // self.bits)

    @property
    def _point(self) -> Array:
        if self.points is None:
            return np.asarray(1 << self.bits - 1, np.uint8)
        return np.asarray(self.points.repeat(self.block, -1))

    def _packed(self, steps: Array) -> Array:
        return packed(steps.astype(np.uint8), self.bits)

    def _stored(self, array: Array) -> Array:
        """Scales or points with an axis of blocks, if the node has one."""
        return array if self._in_blocks else array[..., 0]


def _picked(array: Array, rows: IntArray, columns: IntArray) -> Array:
    return np.stack([own[np.ix_(row, column)] for own, row, column in zip(array, rows, columns, strict=True)])
