"""The operators that a runtime executes, read from a model that the runtime has optimised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from upscale_onnx.model.contractions import weight_layout
from upscale_onnx.model.operators import ELEMENTWISE, SIZES, VIEWS
from upscale_onnx.model.shapes import Shape, infer_shapes
from upscale_onnx.model.sizes import sizes_of
from upscale_onnx.model.workloads import (
    BLOCKED,
    PLAIN,
    Sizes,
    Workload,
    contraction_workload,
)

BLOCKED_DOMAIN = "com.microsoft.nchwc"
# The epilogue of a contraction that was timed by itself, outside any model.
ALONE = "alone"
# Operators that only describe or rename memory.
_FREE = VIEWS | SIZES | {"Constant", "Dropout"}
# Operators whose outputs have the sizes of their inputs, those of onnxruntime's own domains included.
_KEEPING = ELEMENTWISE | {"BatchNormalization", "FastGelu", "QuickGelu", "ReorderInput"}


@dataclass(frozen=True)
class Kernel:
    """One executed node.

    key: all that its time depends on, except channel counts, as text.
    moved: the bytes of activations that it reads and writes; 1 if it only describes or renames them.
    workload, channels_in, channels_out: those of a contraction; None and 0 for any other node.
    epilogue: the operators fused behind a contraction that take time ("Sum", "Sigmoid", …).
    """

    node: str
    op_type: str
    key: str
    moved: int
    workload: Workload | None = None
    channels_in: int = 0
    channels_out: int = 0
    epilogue: str = ""


def alone(kernel: Kernel) -> Kernel:
    """Return `kernel` as it is timed outside any model. A kernel that is no contraction is returned unchanged."""
    return kernel if kernel.workload is None else replace(kernel, epilogue=ALONE)


def read_kernels(model: onnx.ModelProto, batch: int = 1) -> tuple[Kernel, ...]:
    """The nodes of the main graph as kernels. A dynamic first axis counts as `batch`, other dynamic sizes as 1."""
    shapes = dict(infer_shapes(model))
    constants = {tensor.name for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs = [_sizes(shapes.get(name), batch) for name in node.input]
        outputs = [_sizes(shapes.get(name), batch) for name in node.output]
        if node.output and outputs[0] is None and inputs:
            outputs[0] = _propagated(node.op_type, attrs, inputs)
            source = shapes.get(node.input[0])
            if outputs[0] is not None and source is not None:
                shapes[node.output[0]] = Shape(source.dtype, outputs[0])
        if all(name in constants for name in node.input if name) and node.op_type != "Constant" and node.input:
            constants.update(node.output)
            continue
        found.append(_kernel(node, attrs, inputs, outputs, shapes, constants))
    return tuple(found)


def kernel_key(op_type: str, dims: Sequence[int], attrs: Mapping[str, Any]) -> str:
    """The key of a node: its operator, the sizes of its spatial axes, and its windows, strides and permutation."""
    walk = [attrs[name] for name in ("kernel_shape", "strides", "perm") if name in attrs]
    parts = [op_type, "x".join(map(str, dims[2:])), *("x".join(map(str, value)) for value in walk)]
    return "/".join(parts)


def _kernel(
    node: onnx.NodeProto,
    attrs: Mapping[str, Any],
    inputs: Sequence[Sizes | None],
    outputs: Sequence[Sizes | None],
    shapes: Mapping[str, Shape],
    constants: set[str],
) -> Kernel:
    read = [dims for name, dims in zip(node.input, inputs, strict=True) if name not in constants]
    shape = shapes.get(node.input[0]) if node.input else None
    dtype = np.dtype(np.float32) if shape is None or shape.dtype == 0 else _dtype(shape.dtype)
    whole = dtype.itemsize * sum(math.prod(dims) for dims in (*read, *outputs) if dims)
    moved = 1 if node.op_type in _FREE else whole
    largest = max((dims for dims in (*read, *outputs) if dims), key=math.prod, default=())
    key = kernel_key(node.op_type, largest, attrs)
    other = Kernel(node.name, node.op_type, key, moved)
    if len(node.input) < 2 or node.input[1] not in constants:
        return other
    weight, source = inputs[1], inputs[0]
    lies = None if weight is None else weight_layout(node.op_type, attrs, len(weight))
    if weight is None or source is None or lies is None:
        return other
    layout = BLOCKED if node.domain == BLOCKED_DOMAIN else PLAIN
    workload = contraction_workload(node.op_type, attrs, source, weight, layout, dtype.name)
    if workload is None:
        return other
    return Kernel(node.name, node.op_type, key, moved, workload, *lies.counts(weight), _epilogue(node, attrs))


def _epilogue(node: onnx.NodeProto, attrs: Mapping[str, Any]) -> str:
    """The operators fused behind a Conv, without clamps such as Relu, which take no time."""
    activation = attrs.get("activation", b"")
    name = activation.decode() if isinstance(activation, bytes) else str(activation)
    summed = len(node.input) > 3 and bool(node.input[3])
    return "+".join(["Sum"] * summed + [name] * (name not in ("", "Relu", "Clip", "LeakyRelu")))


def _propagated(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Sizes | None]) -> Sizes | None:
    """The sizes of the output of an operator of the blocked layout, which ONNX's shape inference does not know."""
    first = inputs[0]
    known = [dims for dims in inputs if dims]
    if not first:
        return None
    if op_type in ("Conv", "FusedConv") and len(inputs) > 1 and inputs[1]:
        workload = contraction_workload("Conv", attrs, first, inputs[1], BLOCKED, "float32")
        return None if workload is None else (first[0], inputs[1][0], *workload.out_spatial)
    if op_type in ("MaxPool", "AveragePool"):
        window = tuple(attrs.get("kernel_shape", ()))
        workload = contraction_workload("Conv", attrs, first, (first[1], first[1], *window), BLOCKED, "float32")
        if workload is None:
            return None
        extra = tuple(_ceil_extra(workload, i) if attrs.get("ceil_mode", 0) else 0 for i in range(len(window)))
        return (*first[:2], *(n + more for n, more in zip(workload.out_spatial, extra, strict=True)))
    if op_type in ("GlobalAveragePool", "GlobalMaxPool"):
        return (*first[:2], *(1,) * (len(first) - 2))
    if op_type == "Concat" and len(known) == len(inputs):
        axis = int(attrs.get("axis", 1)) % len(first)
        return (*first[:axis], sum(dims[axis] for dims in known), *first[axis + 1 :])
    if op_type == "Upsample":
        return tuple(n * int(s) for n, s in zip(first, attrs.get("scales", (1,) * len(first)), strict=True))
    if op_type not in _KEEPING:
        return None
    same = [dims for dims in known if len(dims) == len(first)]
    return tuple(max(sizes) for sizes in zip(*same, strict=True))


def _ceil_extra(workload: Workload, axis: int) -> int:
    """1 if ceil_mode adds a pooling window along this axis that reaches beyond the input, else 0."""
    rank = len(workload.spatial)
    reach = workload.dilations[axis] * (workload.window[axis] - 1) + 1
    padded = workload.spatial[axis] + workload.pads[axis] + workload.pads[rank + axis]
    stride, size = workload.strides[axis], workload.out_spatial[axis]
    left_out = (padded - reach) % stride > 0
    return int(left_out and size * stride < workload.spatial[axis] + workload.pads[axis])


def _sizes(shape: Shape | None, batch: int) -> Sizes | None:
    return None if shape is None else sizes_of(shape.dims, batch)


def _dtype(code: int) -> np.dtype[Any]:
    if code == onnx.TensorProto.STRING:
        return np.dtype(np.uint8)
    return np.dtype(helper.tensor_dtype_to_np_dtype(code))
