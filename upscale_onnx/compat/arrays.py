"""Turning arrays and tensors of a caller into inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array

Inputs = dict[str, Array]


def to_array(value: Any) -> Array:
    """Return an array, or a torch tensor on any device, as a numpy array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()  # numpy has no bfloat16
    return np.asarray(value)


def named_inputs(model: onnx.ModelProto, inputs: Sequence[Any] | Mapping[str, Any]) -> Inputs:
    """`inputs` as arrays by the names of the model's inputs. Floats are converted to the precision of the model.

    inputs: in the order of the model's inputs, or by name.

    Raises: ArgumentError where the number of inputs, a name, a type or a shape does not fit.
    """
    from upscale_onnx.runtime.inputs import input_specs
    from upscale_onnx.runtime.user_inputs import check_inputs

    specs = {spec.name: spec for spec in input_specs(model)}
    if not isinstance(inputs, Mapping):
        if isinstance(inputs, str) or not isinstance(inputs, Sequence):
            raise ArgumentError("inputs are a list with one array for each input of the model: [x], not x")
        if len(inputs) != len(specs):
            raise ArgumentError(f"{len(inputs)} inputs are given, the model takes {len(specs)}: {', '.join(specs)}")
        inputs = dict(zip(specs, inputs, strict=True))
    arrays = {name: to_array(value) for name, value in inputs.items()}
    for name, array in arrays.items():
        dtype = specs[name].dtype if name in specs else None
        if dtype is not None and dtype.kind == array.dtype.kind == "f":
            arrays[name] = array.astype(dtype)
    check_inputs(arrays, model)
    return arrays
