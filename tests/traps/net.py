"""Small networks as text, with integer weights: their float32 results are exact in any order of summation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from upscale_onnx.types import Array


def weight(*shape: int, dead: object = (), silent: object = (), into: int = 1, out: int = 0, seed: int = 0) -> Array:
    """Integers other than zero; channels `dead` of axis `into` are not read, channels `silent` of axis `out`
    are not written."""
    rng = np.random.default_rng([seed, *shape])
    values = rng.choice(np.array([-2, -1, 1, 2], np.float32), shape)
    index: list[Any] = [slice(None)] * len(shape)
    index[into] = dead if isinstance(dead, slice) else list(dead)  # type: ignore[call-overload]
    values[tuple(index)] = 0
    index = [slice(None)] * len(shape)
    index[out] = silent if isinstance(silent, slice) else list(silent)  # type: ignore[call-overload]
    values[tuple(index)] = 0
    return np.asarray(values)


def vector(size: int, **entries: int) -> Array:
    """`(size,)`: 1, 2, 3, 1, 2, 3 …, with `c4=0` for the entry 4."""
    values = np.arange(size, dtype=np.float32) % 3 + 1
    for name, value in entries.items():
        values[int(name[1:])] = value
    return values


def ints(*values: int) -> Array:
    """A shape, axes or indices."""
    return np.asarray(values, np.int64)


def net(
    head: str, body: str, opset: int = 21, functions: str = "", domains: str = "", **weights: Array
) -> onnx.ModelProto:
    """The checked model of a graph text; every node is called as its first output.

    head: `(inputs) => (outputs)`; an output without a type is given the inferred one.
    """
    imports = f'"" : {opset}' + (f", {domains}" if domains else "")
    text = f"<ir_version: {10 if opset > 8 else 3}, opset_import: [{imports}]>\nnet {head} {{\n{body}\n}}\n{functions}"
    model = onnx.parser.parse_model(text)
    for name, values in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        if opset < 9:
            # IR version 3 lists weights among the inputs.
            dtype = helper.np_dtype_to_tensor_dtype(values.dtype)
            model.graph.input.append(helper.make_tensor_value_info(name, dtype, values.shape))
    for node in model.graph.node:
        node.name = node.output[0]
    untyped = [v for v in model.graph.output if not v.type.tensor_type.shape.dim]
    for value in untyped:
        value.type.tensor_type.ClearField("shape")
    inferred = {v.name: v for v in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output}
    for value in untyped:
        value.CopyFrom(inferred[value.name])
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param.startswith("unk__"):
                dim.Clear()
    onnx.checker.check_model(model, full_check=True)
    return model
