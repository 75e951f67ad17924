"""The values between operators: torch tensors for floating-point values, NumPy arrays for all others."""

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


class NoGradientError(ArgumentError):
    """A node has no gradient here. what: which node it is, without advice."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: use a criterion or a repair without gradients (wanda, lsq)")
        self.what = what


@dataclass(frozen=True)
class Operator:
    """One node, for its rule: `attributes` are plain values, `outputs` is the number of its outputs."""

    op_type: str
    attributes: Mapping[str, Any]
    opset: int
    outputs: int

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute `name`, or `default` if it is not given."""
        return self.attributes.get(name, default)

    def unsupported(self, form: str) -> ArgumentError:
        """The error for a form of the operator that has no gradient here."""
        return NoGradientError(f"no gradient for {self.op_type} with {form}")


Rule: TypeAlias = Callable[..., Any]
"""A function that computes a node from (operator, *inputs), with None for missing inputs. It returns one tensor or
several."""


def tensor(value: Value, like: Tensor | None = None) -> Tensor:
    """`value` as a tensor, with the element type of `like` if it is given."""
    found = value if isinstance(value, torch.Tensor) else from_array(value)
    return found if like is None or found.dtype == like.dtype else found.to(like.dtype)


def from_array(array: Array) -> Tensor:
    """The array as a tensor, on the device that is computed on (`computing_on`). Half precision becomes single
    precision, in which it is computed."""
    plain = np.ascontiguousarray(array)
    if plain.dtype.kind == "V" or str(plain.dtype) in ("bfloat16", "float16"):
        plain = plain.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about read-only arrays; nobody writes to the tensor
        return torch.from_numpy(plain).reshape(array.shape).to(torch.get_default_device())


def array(value: Value) -> Array:
    """`value` as an array, without its gradient."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def ints(value: Value | Sequence[int] | None) -> list[int] | None:
    """`value`, such as a shape or axes, as a list of integers; None stays None."""
    if value is None:
        return None
    numbers = array(value) if isinstance(value, torch.Tensor | np.ndarray) else np.asarray(value)
    return [int(number) for number in numbers.ravel()]


def parameter(operator: Operator, name: str, inputs: Sequence[Value | None], position: int) -> list[int] | None:
    """Integers that are an input in newer operator sets and an attribute in older ones; None if they are not given."""
    if len(inputs) > position and inputs[position] is not None:
        return ints(inputs[position])
    return ints(operator.get(name))
