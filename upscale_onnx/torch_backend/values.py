"""What flows between operators: torch tensors where values are floating-point, NumPy arrays for all else."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array

Tensor: TypeAlias = torch.Tensor
Value: TypeAlias = torch.Tensor | Array


@dataclass(frozen=True)
class Operator:
    """One node as operators see it: `attributes` as plain values, `outputs` how many it has."""

    op_type: str
    attributes: Mapping[str, Any]
    opset: int
    outputs: int

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute `name`, or `default` where it is not given."""
        return self.attributes.get(name, default)

    def unsupported(self, form: str) -> ArgumentError:
        """The error for a form of the operator that has no gradient here."""
        return ArgumentError(
            f"no gradient for {self.op_type} with {form}: use a criterion or a repair that needs none, as wanda or lsq"
        )


Rule: TypeAlias = Callable[..., Any]
"""Computes a node: (operator, *inputs), None for inputs that are left out; returns a tensor, or several."""


def tensor(value: Value, like: Tensor | None = None) -> Tensor:
    """`value` as a tensor, of the element type of `like` where it is given."""
    found = value if isinstance(value, torch.Tensor) else from_array(value)
    return found if like is None or found.dtype == like.dtype else found.to(like.dtype)


def from_array(array: Array) -> Tensor:
    """The array as a tensor; half precision becomes single, in which everything is computed."""
    plain = np.ascontiguousarray(array)
    if plain.dtype.kind == "V" or str(plain.dtype) in ("bfloat16", "float16"):
        plain = plain.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the array may not be written to; nor is the tensor
        return torch.from_numpy(plain).reshape(array.shape)


def array(value: Value) -> Array:
    """`value` as an array, without its gradient."""
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def ints(value: Value | Sequence[int] | None) -> list[int] | None:
    """A shape, axes or the like as a list of integers; None where it is not given."""
    if value is None:
        return None
    numbers = array(value) if isinstance(value, torch.Tensor | np.ndarray) else np.asarray(value)
    return [int(number) for number in numbers.ravel()]


def parameter(operator: Operator, name: str, inputs: Sequence[Value | None], position: int) -> list[int] | None:
    """Integers that newer operator sets give as an input and older ones as an attribute."""
    if len(inputs) > position and inputs[position] is not None:
        return ints(inputs[position])
    return ints(operator.get(name))
