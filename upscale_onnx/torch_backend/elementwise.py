"""Operators that work on single elements, or on pairs of elements that are broadcast."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from upscale_onnx.torch_backend.values import Operator, Rule, Tensor, Value, array, tensor


def _plain(function: Callable[[Tensor], Tensor]) -> Rule:
    return lambda operator, x: function(tensor(x))


def _pair(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    return lambda operator, a, b: function(tensor(a), tensor(b))


def _many(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    return lambda operator, *values: functools.reduce(function, (tensor(value) for value in values))


def _mean(operator: Operator, *values: Value) -> Tensor:
    return functools.reduce(torch.add, (tensor(value) for value in values)) / len(values)


def _clip(operator: Operator, x: Value, low: Value | None = None, high: Value | None = None) -> Tensor:
    if operator.opset < 11:
        bounds = [operator.get("min"), operator.get("max")]
    else:
        bounds = [None if bound is None else float(array(bound).ravel()[0]) for bound in (low, high)]
    return tensor(x) if bounds == [None, None] else torch.clamp(tensor(x), *bounds)


def _sloped(function: Callable[[Tensor, float], Tensor], alpha: float) -> Rule:
    return lambda operator, x: function(tensor(x), operator.get("alpha", alpha))


def _selu(operator: Operator, x: Value) -> Tensor:
    alpha, gamma = operator.get("alpha", 1.6732632423543772), operator.get("gamma", 1.0507009873554805)
    return functional.elu(tensor(x), alpha) * float(gamma)


def _gelu(operator: Operator, x: Value) -> Tensor:
    return functional.gelu(tensor(x), approximate=operator.get("approximate", "none"))


def _hard_sigmoid(operator: Operator, x: Value) -> Tensor:
    return torch.clamp(operator.get("alpha", 0.2) * tensor(x) + operator.get("beta", 0.5), 0, 1)


def _power(operator: Operator, x: Value, exponent: Value) -> Tensor:
    base = tensor(x)
    powers = array(exponent)
    # With a tensor as the exponent, the gradient of 0 ** 2 would use a logarithm and be NaN; with a number it is right.
    return torch.pow(base, float(powers.ravel()[0]) if powers.size == 1 else tensor(exponent, base))


def _where(operator: Operator, condition: Value, a: Value, b: Value) -> Tensor:
    return torch.where(tensor(condition).bool(), tensor(a), tensor(b))


def _cast(operator: Operator, x: Value, like: Value | None = None) -> Any:
    # Casts to integers have no gradient and do not come here. Half precision is computed in single precision.
    return tensor(x).to(torch.float64 if operator.get("to") == 11 else torch.float32)


def _identity(operator: Operator, x: Value, *unused: Value) -> Any:
    return tensor(x) if operator.outputs == 1 else (tensor(x), torch.ones_like(tensor(x)).bool())


RULES: Mapping[str, Rule] = {
    "Abs": _plain(torch.abs),
    "Add": _pair(torch.add),
    "Atan": _plain(torch.atan),
    "Cast": _cast,
    "Celu": _sloped(functional.celu, 1.0),
    "Clip": _clip,
    "Cos": _plain(torch.cos),
    "Div": _pair(torch.div),
    "Dropout": _identity,
    "Elu": _sloped(functional.elu, 1.0),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(lambda x: x * torch.clamp(x / 6 + 0.5, 0, 1)),
    "Identity": _identity,
    "LeakyRelu": _sloped(functional.leaky_relu, 0.01),
    "Log": _plain(torch.log),
    "Max": _many(torch.maximum),
    "Mean": _mean,
    "Min": _many(torch.minimum),
    "Mish": _plain(functional.mish),
    "Mul": _pair(torch.mul),
    "Neg": _plain(torch.neg),
    "Pow": _power,
    "PRelu": _pair(lambda x, slope: torch.clamp(x, min=0) + slope * torch.clamp(x, max=0)),
    "Reciprocal": _plain(torch.reciprocal),
    "Relu": _plain(torch.relu),
    "Selu": _selu,
    "Sigmoid": _plain(torch.sigmoid),
    "Sin": _plain(torch.sin),
    "Softplus": _plain(functional.softplus),
    "Softsign": _plain(functional.softsign),
    "Sqrt": _plain(torch.sqrt),
    "Sub": _pair(torch.sub),
    "Sum": _many(torch.add),
    "Swish": _sloped(lambda x, alpha: x * torch.sigmoid(alpha * x), 1.0),
    "Tanh": _plain(torch.tanh),
    "ThresholdedRelu": _sloped(lambda x, alpha: functional.threshold(x, alpha, 0.0), 1.0),
    "Where": _where,
}
