"""QuantizeLinear and DequantizeLinear, whose integers are floating-point numbers here. Rounding has the gradient of the
identity, and clipping none beyond the range.

Source: Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation",
2013, section 4, on the straight-through estimator.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from onnx import helper

from upscale_onnx.model.quantiser import integer_range
from upscale_onnx.torch_backend.values import Operator, Rule, Tensor, Value, array, tensor


def _quantised(operator: Operator, x: Value, scale: Value, point: Value | None = None) -> Tensor:
    code = int(operator.get("output_dtype", 0))
    stated = np.dtype(helper.tensor_dtype_to_np_dtype(code)) if code else np.dtype(np.uint8)
    dtype = stated if point is None else array(point).dtype
    if "int" not in dtype.name:
        raise operator.unsupported(f"numbers of type {dtype.name}")
    steps = tensor(x) / _along(operator, x, scale)
    zero = 0.0 if point is None else _along(operator, x, point)
    nearest = steps + (torch.round(steps) - steps).detach()
    return torch.clamp(nearest + zero, *map(float, integer_range(dtype)))


def _dequantised(operator: Operator, x: Value, scale: Value, point: Value | None = None) -> Tensor:
    zero = 0.0 if point is None else _along(operator, x, point)
    return (_numbers(x) - zero) * _along(operator, x, scale)


def _along(operator: Operator, x: Value, parameter: Value) -> Tensor:
    """A scale or a zero point, with size 1 along all axes of `x` but its own."""
    if operator.get("block_size"):
        raise operator.unsupported("blocks")
    found = _numbers(parameter)
    if found.numel() == 1:
        return found.reshape(())
    axis = int(operator.get("axis", 1)) % x.ndim
    return found.reshape([-1 if at == axis else 1 for at in range(x.ndim)])


def _numbers(value: Value) -> Tensor:
    return value if isinstance(value, torch.Tensor) else tensor(np.asarray(value, np.float32))


RULES: Mapping[str, Rule] = {"DequantizeLinear": _dequantised, "QuantizeLinear": _quantised}
