"""Mutants of a compiled model: one live output channel of one weight, and its bias, set to zero."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

Array = np.ndarray[Any, Any]

# Where an operator's weight and bias are among its inputs, and along which axis of the weight its outputs lie.
_WEIGHT, _BIAS = 1, 2


@dataclass(frozen=True)
class Channel:
    """The output channel `index` of a node's weight: in it, the entries `rows` along `axis`, and `shared` weights."""

    node: str
    index: int
    parts: tuple[tuple[str, int, tuple[int, ...]], ...]


def live_channels(model: onnx.ModelProto) -> list[Channel]:
    """Every output channel of Conv, ConvTranspose, Gemm, MatMul and LSTM weights that is not zero already."""
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = []
    for node in model.graph.node:
        for channel in _channels(node, arrays):
            name, axis, rows = channel.parts[0]
            if np.take(arrays[name], rows, axis).any():
                found.append(channel)
    return found


def mutant(model: onnx.ModelProto, channel: Channel) -> onnx.ModelProto:
    """A copy of `model` in which `channel` is zero."""
    result = copy.deepcopy(model)
    tensors = {tensor.name: tensor for tensor in result.graph.initializer}
    for name, axis, rows in channel.parts:
        array = numpy_helper.to_array(tensors[name]).copy()
        array[(slice(None),) * axis + (list(rows),)] = 0
        tensors[name].CopyFrom(numpy_helper.from_array(array, name))
    return result


def _channels(node: onnx.NodeProto, arrays: dict[str, Array]) -> Iterator[Channel]:
    if len(node.input) <= _WEIGHT or node.input[_WEIGHT] not in arrays:
        return
    weight = arrays[node.input[_WEIGHT]]
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "LSTM":
        yield from _units(node, weight.shape[1] // 4)
        return
    if node.op_type == "Conv":
        axis = 0
    elif node.op_type == "ConvTranspose" and attributes.get("group", 1) == 1:
        axis = 1
    elif node.op_type == "Gemm":
        axis = 0 if attributes.get("transB", 0) else 1
    elif node.op_type == "MatMul" and weight.ndim == 2:
        axis = 1
    else:
        return
    bias = [name for name in node.input[_BIAS:] if name in arrays and arrays[name].shape == (weight.shape[axis],)]
    for index in range(weight.shape[axis]):
        parts = [(node.input[_WEIGHT], axis, (index,)), *((name, 0, (index,)) for name in bias)]
        yield Channel(node.name or node.output[0], index, tuple(parts))


def _units(node: onnx.NodeProto, hidden: int) -> Iterator[Channel]:
    """Hidden units of an LSTM: their rows in the weights of all four gates, and in the biases of both."""
    names: Sequence[str] = [name for name in node.input[1:4] if name]
    for index in range(hidden):
        rows = [tuple(index + gate * hidden for gate in range(4 if number < 2 else 8)) for number in range(len(names))]
        parts = tuple((name, 1, row) for name, row in zip(names, rows, strict=True))
        yield Channel(node.name or node.output[0], index, parts)
