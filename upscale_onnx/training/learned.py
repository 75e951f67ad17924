"""The tensors of a model that training changes, and the zeros in them that it does not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from upscale_onnx.masks.targets import FLOATS, constant_tensors
from upscale_onnx.model.protos import element_count
from upscale_onnx.types import Array, BoolArray
from upscale_onnx.unstructured.parameters import parameters
from upscale_onnx.unstructured.zeros import read

# Nodes that a learned vector may be an operand of, such as a bias behind a product or the scale of a layer.
_OPERANDS = frozenset({"Add", "Div", "Mul", "PRelu", "Sub"})
_STATISTICS = (3, 4)


def learned(model: onnx.ModelProto) -> dict[str, Array]:
    """The values of what is trained, by name: weights and biases of layers, scales and shifts of normalisations, and
    floating-point constants of more than one element that are added, multiplied or slopes.

    Raises: ModelError where the data of a tensor was not loaded.
    """
    tensors = constant_tensors(model)
    names = [parameter.name for parameter in parameters(model)]
    names += [
        name
        for node in model.graph.node
        if node.op_type in _OPERANDS
        for name in node.input
        if name in tensors and tensors[name].data_type in FLOATS and element_count(tensors[name].dims) > 1
    ]
    return {name: read(tensors[name], name) for name in dict.fromkeys(names)}


def statistics(model: onnx.ModelProto) -> dict[str, Array]:
    """The running means and variances of normalisations, by name."""
    tensors = constant_tensors(model)
    found = [node.input[i] for node in model.graph.node if node.op_type == "BatchNormalization" for i in _STATISTICS]
    return {name: read(tensors[name], name) for name in dict.fromkeys(found) if name in tensors}


def kept_entries(model: onnx.ModelProto, values: Mapping[str, Array]) -> dict[str, BoolArray]:
    """By name, which entries training may change; names of which it may change all are left out.

    Zeros of weights stay. Where a layer makes nothing in a channel, its bias stays there, and so do the scale, the
    shift and the statistics of the normalisation behind it: the channel remains the constant that it was.
    """
    kept = {name: array != 0 for name, array in values.items() if array.ndim > 1}
    dead: dict[str, BoolArray] = {}
    axes = {parameter.name: parameter.output_axis for parameter in parameters(model)}
    for node in model.graph.node:
        vectors = [name for name in node.input[1:] if name in values and values[name].ndim == 1]
        weight = next((name for name in node.input if name in kept), None)
        if node.op_type == "BatchNormalization" and node.input[0] in dead:
            gone = dead[node.input[0]]
        elif weight is not None and axes.get(weight) is not None:
            gone = ~_channels(kept[weight], int(axes[weight] or 0))
        else:
            continue
        for name in vectors:
            if values[name].shape == gone.shape:
                kept[name] = kept.get(name, np.ones(gone.shape, np.bool_)) & ~gone
        dead[node.output[0]] = gone
    return {name: mask for name, mask in kept.items() if not mask.all()}


def _channels(used: BoolArray, axis: int) -> BoolArray:
    return np.asarray(used.any(axis=tuple(i for i in range(used.ndim) if i != axis)))
