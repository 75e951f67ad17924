"""Limits for the memory of random inputs and of the values that a model computes from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto, numpy_helper

from upscale_onnx.errors import ModelError
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.protos import element_count, skeleton
from upscale_onnx.model.sizes import elements_of
from upscale_onnx.runtime.sizes import TensorSpec
from upscale_onnx.types import Array

_MOST_BYTES = 2**30
# The limit of an input whose size we choose. It is lower, because values inside of a network are often larger.
_MOST_CHOSEN_BYTES = 2**27


def check_input_bytes(specs: Sequence[TensorSpec], shapes: Sequence[tuple[int, ...]]) -> None:
    """Check that inputs of these shapes, in the order of `specs`, fit in memory.

    Raises:
        ModelError: they would take too much memory.
    """
    total = 0
    for spec, shape in zip(specs, shapes, strict=True):
        size = element_count(shape) * max(spec.dtype.itemsize, 8)  # values are drawn in double precision
        total += size
        if total > _MOST_BYTES or (spec.open_axes and size > _MOST_CHOSEN_BYTES):
            raise ModelError(f"input '{spec.name}' of shape {list(shape)} would take {total / 2**30:.1f} GB")


def check_result_bytes(model: ModelProto, inputs: Mapping[str, Array], sizes: Mapping[str, Array]) -> None:
    """Check that no value of `model` is too large on `inputs`. `sizes` are the inputs that set the sizes of values.

    Raises:
        ModelError: a value would take too much memory.
    """
    if not sizes:
        return
    bare = skeleton(model)
    for value in bare.graph.input:
        if value.name in inputs:
            for dim, size in zip(value.type.tensor_type.shape.dim, inputs[value.name].shape, strict=True):
                dim.dim_value = size
    kept = [value for value in bare.graph.input if value.name not in sizes]
    del bare.graph.input[:]
    bare.graph.input.extend(kept)
    bare.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in sizes.items())
    for name, shape in infer_shapes(bare).items():
        total = 4 * elements_of(shape.dims)
        if total > _MOST_BYTES:
            raise ModelError(f"'{name}' would take {total / 2**30:.1f} GB")
