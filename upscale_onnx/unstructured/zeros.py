"""Writes zeros into the tensors of a model, and changes nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import external_data_helper, numpy_helper

from upscale_onnx.errors import ModelError
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.types import Array, BoolArray

_VALUES = ("float_data", "int32_data", "double_data")  # other fields than raw_data that may hold floating-point values


def read(tensor: onnx.TensorProto, name: str) -> Array:
    """The values of `tensor`. `name` is its name in error messages.

    Raises: ModelError if the values are in another file and were not loaded.
    """
    _refuse_external(tensor, name)
    return numpy_helper.to_array(tensor)


def write_zeros(model: onnx.ModelProto, masks: Mapping[str, BoolArray]) -> onnx.ModelProto:
    """A copy of `model` with zeros where `masks` (tensor name -> True = kept) prune.

    All other entries keep their bytes, and all tensors keep their encoding.

    Raises: ModelError if the data of a tensor was not loaded.
    """
    pruned = onnx.ModelProto()
    pruned.CopyFrom(model)
    tensors = constant_tensors(pruned)
    for name, kept in masks.items():
        if not kept.all():
            _refuse_external(tensors[name], name)
            _zero(tensors[name], ~kept.ravel())
    return pruned


def _zero(tensor: onnx.TensorProto, pruned: BoolArray) -> None:
    """Write zeros into `tensor`. All floating-point types store 0 as zero bits, so values need not be decoded."""
    if tensor.HasField("raw_data"):
        entries = np.frombuffer(tensor.raw_data, np.uint8).reshape(pruned.size, -1).copy()
        entries[pruned] = 0
        tensor.raw_data = entries.tobytes()
        return
    for field in _VALUES:
        numbers = getattr(tensor, field)
        if numbers:
            kept = np.array(numbers)
            kept[pruned] = 0
            numbers[:] = kept.tolist()


def _refuse_external(tensor: onnx.TensorProto, name: str) -> None:
    if external_data_helper.uses_external_data(tensor):  # onnx would look for the file in the working directory
        raise ModelError(f"the data of {name!r} is in another file and was not loaded: load the model with it")
