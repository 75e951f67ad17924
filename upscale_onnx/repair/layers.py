"""The layers that can be re-fitted: linear maps with a constant weight, as matrices that act on input patches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import NodeProto, helper

from upscale_onnx.masks.targets import MaskTarget, constant_roots, constant_tensors, mask_targets, used_names
from upscale_onnx.model.bodies import all_nodes
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

    position: the position of its node in the graph.
    weight: the name of its weight; shape: the weight's shape; output_axis: the weight's axis of output channels.
    group: the number of groups of a Conv, else 1.
    bias: the name of its bias; None if it has none or shares it.
    can_bias: whether the node has a bias or can be given one.
    source: the value that it reads.
    output: the value that it makes; for a MatMul, after the Add of a constant vector, if there is one.
    window: how a Conv moves; None for Gemm and MatMul.
    """

    position: int
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

    def positions(self, x_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of the output's axes, without those of samples and channels, for an input of this shape."""
        if self.window is None:
            return x_shape[1:-1]
        return self.window.positions(x_shape[2:])

    def patches(self, x: Array, chosen: NDArray[np.intp]) -> Array:
        """The inputs of the chosen output positions, (group, chosen, inputs per output + 1); the last column is 1.

        x: (N, C, ...) for a Conv, (..., C) otherwise.
        chosen: flat indices into (N, *positions).
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
    def block(self) -> int:
        """The number of rows of `matrix` for one input channel."""
        return int(np.prod(self.window.kernel)) if self.window is not None else 1


def linear_layers(model: onnx.ModelProto) -> tuple[LinearLayer, ...]:
    """The layers of `model` that can be re-fitted, in node order."""
    tensors = constant_tensors(model)
    roots = constant_roots(all_nodes(model), tensors)
    uses = Counter(roots.get(name, name) for name in used_names(model.graph))
    readers: dict[str, list[int]] = {}
    for position, node in enumerate(model.graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(position)
    targets = {target.weight: target for target in mask_targets(model)}
    found = []
    for position, node in enumerate(model.graph.node):
        target = targets.get(roots.get(node.input[1], "")) if len(node.input) > 1 else None
        if target is None or uses[target.weight] != 1 or node.op_type not in _READERS:
            continue
        layer = _layer(position, node, target, tensors)
        if layer is not None:
            found.append(_with_added_bias(layer, model, readers, tensors, uses))
    return tuple(found)


_READERS = ("Conv", "Gemm", "MatMul")


def _layer(
    position: int, node: NodeProto, target: MaskTarget, tensors: Mapping[str, onnx.TensorProto]
) -> LinearLayer | None:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    has_bias = len(node.input) > 2 and bool(node.input[2])
    if target.output_axis is None or node.input[0] in tensors or (has_bias and target.bias is None):
        return None
    if node.op_type == "Gemm" and (
        attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0
    ):
        return None
    if node.op_type == "MatMul" and len(target.shape) != 2:
        return None
    channels = target.shape[target.output_axis]
    if has_bias and target.bias is not None and math.prod(tensors[target.bias].dims) != channels:
        return None
    return LinearLayer(
        position=position,
        op_type=node.op_type,
        weight=target.weight,
        shape=target.shape,
        output_axis=target.output_axis,
        group=target.group,
        bias=target.bias,
        can_bias=node.op_type != "MatMul",
        source=node.input[0],
        output=node.output[0],
        window=_window(target, attributes) if node.op_type == "Conv" else None,
    )


def _window(target: MaskTarget, attributes: Mapping[str, Any]) -> Window:
    kernel = target.shape[2:]
    ones = [1] * len(kernel)
    return Window(
        kernel=kernel,
        strides=tuple(attributes.get("strides", ones)),
        dilations=tuple(attributes.get("dilations", ones)),
        pads=tuple(attributes.get("pads", [0] * 2 * len(kernel))),
        auto_pad=attributes.get("auto_pad", b"NOTSET").decode(),
    )


def _with_added_bias(
    layer: LinearLayer,
    model: onnx.ModelProto,
    readers: Mapping[str, list[int]],
    tensors: Mapping[str, onnx.TensorProto],
    uses: Mapping[str, int],
) -> LinearLayer:
    """`layer` with the constant vector of an Add behind its MatMul as its bias, if there is such an Add."""
    if layer.op_type != "MatMul" or uses[layer.output] != 1 or len(readers.get(layer.output, [])) != 1:
        return layer
    node = model.graph.node[readers[layer.output][0]]
    if node.op_type != "Add":
        return layer
    other = node.input[1] if node.input[0] == layer.output else node.input[0]
    channels = layer.shape[layer.output_axis]
    if other not in tensors or uses[other] != 1 or list(tensors[other].dims) != [channels]:
        return layer
    return LinearLayer(**{**vars(layer), "bias": other, "can_bias": True, "output": node.output[0]})
