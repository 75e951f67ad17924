"""Counts the zeros in a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.results import Sparsity, TensorSparsity
from upscale_onnx.types import Array, BoolArray
from upscale_onnx.unstructured.parameters import Parameter, parameters
from upscale_onnx.unstructured.zeros import read


def sparsity(model: onnx.ModelProto, chosen: Sequence[Parameter] | None = None) -> Sparsity:
    """The zeros, of either sign, in the weights and biases of `model`, or in the `chosen` ones.

    Raises: ModelError if the data of a tensor was not loaded.
    """
    tensors = constant_tensors(model)
    found = parameters(model) if chosen is None else chosen
    rows = tuple(_of_tensor(parameter, read(tensors[parameter.name], parameter.name)) for parameter in found)
    zeros, size = sum(row.zeros for row in rows), sum(row.size for row in rows)
    return Sparsity(zeros, size, zeros / size if size else 0.0, rows)


def _of_tensor(parameter: Parameter, values: Array) -> TensorSparsity:
    used = values.astype(np.bool_)
    zeros = used.size - int(np.count_nonzero(used))
    zero_inputs, inputs = _of_channels(used, parameter.input_axis)
    zero_outputs, outputs = _of_channels(used, parameter.output_axis)
    return TensorSparsity(
        name=parameter.name,
        node=parameter.nodes[0],
        op_type=parameter.op_types[0],
        kind=parameter.kind,
        shape=parameter.shape,
        zeros=zeros,
        size=used.size,
        share=zeros / used.size if used.size else 0.0,
        zero_inputs=zero_inputs,
        inputs=inputs,
        zero_outputs=zero_outputs,
        outputs=outputs,
    )


def _of_channels(used: BoolArray, axis: int | None) -> tuple[int | None, int | None]:
    """How many channels along `axis` are all zero, and how many there are; None and None without an axis."""
    if axis is None:
        return None, None
    others = tuple(i for i in range(used.ndim) if i != axis)
    return int(np.count_nonzero(~used.any(axis=others))), used.shape[axis]
