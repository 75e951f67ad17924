"""How many channels an activation clips in every trial. The trials show nothing about such sleeping channels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from upscale_onnx.errors import ModelError
from upscale_onnx.model import Shape
from upscale_onnx.model.operators import MATRIX_PRODUCTS, STANDARD_DOMAINS
from upscale_onnx.model.protos import copy_fields, stored_bytes
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import Array

# Activations that are flat somewhere, and what may stand between them and a layer.
_CLIPPING = frozenset(("Relu", "Clip", "ThresholdedRelu", "HardSigmoid", "HardSwish"))
_PASSED = frozenset(("Add", "BatchNormalization", "Mul", "LayerNormalization"))
_MOST_BYTES = 2**29
# A channel is constant if its mean equals its largest value, apart from the rounding of a mean.
_CONSTANT = 1e-6
_AXES_AS_INPUT = 18  # the opset from which ReduceMax takes its axes as an input


@dataclass(frozen=True)
class Activity:
    """How many channels enter activations that clip, and how many of them were constant behind it in all trials."""

    channels: int = 0
    asleep: int = 0


def activity(model: ModelProto, shapes: Mapping[str, Shape], feeds: Sequence[Inputs], provider: Device) -> Activity:
    """Count the channels that are constant behind an activation in all trials although they vary in front of it.

    The model returns only the largest value and the mean of each channel, so that memory stays small. After the first
    trial, only activations with a channel that was constant are watched. Both counts are 0 if this cannot be
    computed for the model.
    """
    watched = _watched(model, shapes)
    if not watched or sum(stored_bytes(tensor) for tensor in model.graph.initializer) > _MOST_BYTES:
        return Activity()
    try:
        first = _extremes(model, [(entry.leaving, entry) for entry in watched], feeds[:1], provider)
        channels = sum(constant.size for constant in first)
        drowsy = [entry for entry, constant in zip(watched, first, strict=True) if constant.any()]
        if not drowsy:
            return Activity(channels)
        values = [(name, entry) for entry in drowsy for name in (entry.entering, entry.leaving)]
        constant = _extremes(model, values, feeds, provider)
    except ModelError:
        return Activity()
    pairs = zip(constant[::2], constant[1::2], strict=True)
    return Activity(channels, sum(int((leaving & ~entering).sum()) for entering, leaving in pairs))


def _extremes(
    model: ModelProto, values: Sequence[tuple[str, _Watched]], feeds: Sequence[Inputs], provider: Device
) -> list[Array]:
    """For each value, a mask of the channels that are constant over all `feeds`."""
    session = make_session(_with_extremes(model, values), provider=provider)
    runs = [run(session, feed) for feed in feeds]
    found = []
    for i, (_, entry) in enumerate(values):
        axes = (0, *range(2, entry.rank)) if entry.pools else ()
        highest = np.maximum.reduce([np.max(outputs[2 * i], axis=axes, initial=-np.inf) for outputs in runs])
        lowest = np.minimum.reduce([np.min(outputs[2 * i + 1], axis=axes, initial=np.inf) for outputs in runs])
        found.append(highest - lowest <= _CONSTANT * np.maximum(np.abs(highest), np.abs(lowest)))
    return found


@dataclass(frozen=True)
class _Watched:
    """The input and output of an activation, their rank and the axis of their channels."""

    entering: str
    leaving: str
    rank: int
    axis: int

    @property
    def pools(self) -> bool:
        """Whether global pooling computes the largest value and the mean. It is faster than a reduction."""
        return self.rank == 4 and self.axis == 1


def _watched(model: ModelProto, shapes: Mapping[str, Shape]) -> list[_Watched]:
    makers = {name: node for node in model.graph.node for name in node.output}
    found = []
    for node in model.graph.node:
        if node.op_type not in _CLIPPING or node.domain not in STANDARD_DOMAINS:
            continue
        shape = shapes.get(node.output[0])
        axis = None if shape is None else _channel_axis(node, shape, makers)
        if shape is not None and axis is not None and shape.dtype == TensorProto.FLOAT:
            found.append(_Watched(node.input[0], node.output[0], shape.rank, axis))
    return found


def _channel_axis(node: NodeProto, shape: Shape, makers: Mapping[str, NodeProto]) -> int | None:
    """The channel axis: the last one behind a MatMul or Gemm, else the second one. None if its size is open."""
    if shape.rank < 2:
        return None
    name = node.input[0]
    while (maker := makers.get(name)) is not None and maker.op_type in _PASSED:
        name = next((read for read in maker.input if read in makers), "")
    last = maker is not None and maker.op_type in MATRIX_PRODUCTS
    axis = shape.rank - 1 if last else 1
    return axis if isinstance(shape.dims[axis], int) else None


def _with_extremes(model: ModelProto, values: Sequence[tuple[str, _Watched]]) -> ModelProto:
    """`model` with other outputs: the largest value and the mean per channel of each of `values`."""
    result = ModelProto()
    copy_fields(model, result, skip=("graph", "training_info"))
    copy_fields(model.graph, result.graph, skip=("node", "output", "value_info"))
    added: defaultdict[str, list[NodeProto]] = defaultdict(list)
    version = max((entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS), default=1)
    for number, (value, entry) in enumerate(values):
        for pooled, reduced in (("GlobalMaxPool", "ReduceMax"), ("GlobalAveragePool", "ReduceMean")):
            name = f"{reduced}/{number}/{value}"
            node = helper.make_node(pooled if entry.pools else reduced, [value], [name])
            if not entry.pools:
                others = [axis for axis in range(entry.rank) if axis != entry.axis]
                node.attribute.append(helper.make_attribute("keepdims", 0))
                if version >= _AXES_AS_INPUT:
                    node.input.append(f"{name}/axes")
                    result.graph.initializer.append(numpy_helper.from_array(np.array(others), f"{name}/axes"))
                else:
                    node.attribute.append(helper.make_attribute("axes", others))
            added[value].append(node)
            result.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    # The added nodes follow the node that they read, so that no value is kept longer than in the model itself.
    for node in model.graph.node:
        result.graph.node.add().CopyFrom(node)
        for name in node.output:
            result.graph.node.extend(added[name])
    return result
