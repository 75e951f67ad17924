"""Linear maps with a constant weight, as matrices that act on what is read at one position."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from upscale_onnx.model.padding import SAME, same_pads
from upscale_onnx.types import Array


@dataclass(frozen=True)
class Window:
    """How a Conv moves over the spatial axes of its input. pads: those before all axes, then those after."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str = "NOTSET"

    def positions(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of the output's spatial axes, for `sizes` of the input's."""
        before, after = self._margins(sizes)
        return tuple(
            (size + b + a - (k - 1) * d - 1) // s + 1
            for size, b, a, k, s, d in zip(sizes, before, after, self.kernel, self.strides, self.dilations, strict=True)
        )

    def unfold(self, x: Array, chosen: NDArray[np.intp]) -> Array:
        """The patches of x, (N, C, ...), at the flat indices `chosen` into (N, *positions): (chosen, C, *kernel)."""
        sizes = x.shape[2:]
        before, after = self._margins(sizes)
        if any((*before, *after)):
            x = np.pad(x, [(0, 0), (0, 0), *zip(before, after, strict=True)])
        spans = tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))
        views: Any = sliding_window_view(x, spans, tuple(range(2, x.ndim)))
        views = views[(..., *(slice(None, None, d) for d in self.dilations))]
        sample, *places = np.unravel_index(chosen, (x.shape[0], *self.positions(sizes)))
        starts = [place * step for place, step in zip(places, self.strides, strict=True)]
        return np.asarray(views[(sample, slice(None), *starts)])

    def _margins(self, sizes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The padding before and after each spatial axis."""
        rank = len(sizes)
        if self.auto_pad == "VALID":
            return (0,) * rank, (0,) * rank
        if self.auto_pad not in SAME:
            return self.pads[:rank], self.pads[rank:]
        pads = same_pads(self.auto_pad, sizes, self.kernel, self.strides, self.dilations)
        return tuple(before for before, _ in pads), tuple(behind for _, behind in pads)


@dataclass(frozen=True)
class LinearLayer:
    """A Conv, Gemm or MatMul whose weight is a constant that nothing else uses.

    position: the position of its node in the main graph, or of the node in whose bodies it is.
    place: the place of its node among all nodes of the flat graph. is_inner: whether it is in a body.
    weight: the name of its weight; shape: the weight's shape; output_axis: the weight's axis of output channels.
    group: the number of groups of a Conv, else 1.
    bias: the name of its bias; None if it has none or shares it.
    can_bias: whether the node has a bias or can be given one.
    source: the value that it reads.
    output: the value that it makes; for a MatMul, after the Add of a constant vector, if there is one.
    window: how a Conv moves; None for Gemm and MatMul.
    """

    position: int
    place: int
    is_inner: bool
    op_type: str
    weight: str
    shape: tuple[int, ...]
    output_axis: int
    group: int
    bias: str | None
    can_bias: bool
    source: str
    output: str
    window: Window | None

    is_batched: ClassVar[bool] = False

    def positions(self, x_shape: tuple[int, ...]) -> tuple[int, int]:
        """The number of samples in an input of this shape, and that of the positions that are made of each."""
        places = x_shape[1:-1] if self.window is None else self.window.positions(x_shape[2:])
        return x_shape[0], math.prod(places)

    def patches(self, x: Array, chosen: NDArray[np.intp]) -> Array:
        """The inputs of the chosen output positions, (group, chosen, inputs per output + 1); the last column is 1.

        x: (N, C, ...) for a Conv, (..., C) otherwise.
        chosen: flat indices into (samples, positions).
        """
        rows = x.reshape(-1, x.shape[-1])[chosen] if self.window is None else self.window.unfold(x, chosen)
        found = np.ones((self.group, chosen.size, rows[0].size // self.group + 1), x.dtype)
        found[..., :-1] = rows.reshape(chosen.size, self.group, -1).transpose(1, 0, 2)
        return found

    def rows(self, y: Array, chosen: NDArray[np.intp]) -> Array:
        """The outputs in y at the chosen positions, (group, chosen, outputs per group)."""
        moved = y if self.window is None else np.moveaxis(y, 1, -1)
        rows = moved.reshape(-1, moved.shape[-1])[chosen]
        return np.ascontiguousarray(rows.reshape(chosen.size, self.group, -1).transpose(1, 0, 2))

    def matrix(self, weight: Array, bias: Array | None) -> Array:
        """The weight and bias as one matrix, (group, inputs per output + 1, outputs per group), in float64."""
        rows = np.moveaxis(weight, self.output_axis, 0).astype(np.float64)
        rows = rows.reshape(self.group, rows.shape[0] // self.group, -1)
        last = np.zeros(rows.shape[:2]) if bias is None else bias.reshape(rows.shape[:2]).astype(np.float64)
        return np.concatenate([rows, last[..., None]], axis=2).transpose(0, 2, 1)

    def tensors(self, matrix: Array) -> tuple[Array, Array]:
        """The weight and the bias that `matrix` stands for, in float64."""
        rows = matrix.transpose(0, 2, 1)
        moved = [size for axis, size in enumerate(self.shape) if axis != self.output_axis]
        weight = rows[..., :-1].reshape(self.shape[self.output_axis], *moved)
        return np.moveaxis(weight, 0, self.output_axis), rows[..., -1].reshape(-1)

    @property
    def channels(self) -> int:
        """The number of input channels of one group."""
        return int(np.prod(self.shape)) // self.shape[self.output_axis] // self.block

    @property
    def is_depthwise(self) -> bool:
        """Whether each group reads a single channel."""
        return self.group > 1 and self.channels == 1 and not self.is_batched

    @property
    def inputs(self) -> int:
        """The number of input channels: those of all groups of a Conv, and of several matrices those of one."""
        return self.channels if self.is_batched else self.group * self.channels

    @property
    def outputs(self) -> int:
        """The number of output channels of all groups."""
        return self.shape[self.output_axis]

    @property
    def block(self) -> int:
        """The number of rows of `matrix` for one input channel."""
        return int(np.prod(self.window.kernel)) if self.window is not None else 1


@dataclass(frozen=True)
class BatchedLayer(LinearLayer):
    """A MatMul by several matrices, `(group, K, M)`: one for each index of the third last axis of what it reads, which
    may be 1. It has no bias of its own."""

    is_batched: ClassVar[bool] = True

    def positions(self, x_shape: tuple[int, ...]) -> tuple[int, int]:
        samples, *places = (*x_shape[:-3], *x_shape[-2:-1], 1)
        return samples, math.prod(places)

    def patches(self, x: Array, chosen: NDArray[np.intp]) -> Array:
        found = np.ones((self.group, chosen.size, x.shape[-1] + 1), x.dtype)
        found[..., :-1] = _by_matrix(x)[:, chosen]
        return found

    def rows(self, y: Array, chosen: NDArray[np.intp]) -> Array:
        return np.ascontiguousarray(_by_matrix(y)[:, chosen])

    def matrix(self, weight: Array, bias: Array | None) -> Array:
        return np.pad(weight.astype(np.float64), [(0, 0), (0, 1), (0, 0)])

    def tensors(self, matrix: Array) -> tuple[Array, Array]:
        return matrix[:, :-1], np.zeros(0)

    @property
    def channels(self) -> int:
        return self.shape[1]

    @property
    def outputs(self) -> int:
        return self.shape[0] * self.shape[2]


def _by_matrix(values: Array) -> Array:
    """`(matrices, positions, channels)`."""
    whole = values.reshape((1,) * (3 - values.ndim) + values.shape)
    return np.moveaxis(whole, -3, 0).reshape(whole.shape[-3], -1, whole.shape[-1])
