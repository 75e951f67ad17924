"""How nodes run while training, where that is not how they run in inference, or where torch has a faster way."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import torch
from torch.nn import functional

from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.torch_backend.network import RULES
from upscale_onnx.torch_backend.planned import Override
from upscale_onnx.torch_backend.values import Operator, Rule, Tensor, Value, array, tensor
from upscale_onnx.training.norms import EPSILON, Norm

_MOMENTUM = 0.9  # of running statistics, as ONNX counts it: what stays of them at each step
_DROPPED = 0.5  # the share that Dropout drops where the node does not say


def overrides(norms: Mapping[str, Norm], kept_by_dropout: Mapping[str, float], *, statistics: bool) -> Override:
    """Rules by node while training. norms: those behind convolutions, by the name of the weight. kept_by_dropout:
    factors of the ratios of Dropout nodes by their outputs, looked up at each run.

    statistics: whether norms take the statistics of the batch, and follow them.
    """
    rules = {**FAST, "BatchNormalization": _batch_norm} if statistics else FAST

    def override(node: onnx.NodeProto) -> Rule | None:
        if node.domain not in STANDARD_DOMAINS:
            return None
        if node.op_type == "Dropout":
            return _dropout(node.output[0], kept_by_dropout)
        norm = norms.get(node.input[1]) if node.op_type == "Conv" and len(node.input) > 2 else None
        return rules.get(node.op_type) if norm is None else _normalised(norm)

    return override


def inference(node: onnx.NodeProto) -> Rule | None:
    """The rule of `node` where nothing trains."""
    return FAST.get(node.op_type) if node.domain in STANDARD_DOMAINS else None


def _normalised(norm: Norm) -> Rule:
    conv = RULES["Conv"]

    def rule(operator: Operator, x: Value, weight: Value, shift: Value) -> Tensor:
        made, share = conv(operator, x, weight), 1.0 - _MOMENTUM
        return functional.batch_norm(made, norm.mean, norm.variance, norm.scale, tensor(shift), True, share, EPSILON)

    return rule


def _batch_norm(operator: Operator, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    share, epsilon = 1.0 - operator.get("momentum", _MOMENTUM), operator.get("epsilon", 1e-5)
    return functional.batch_norm(x, mean, variance, scale, shift, True, share, epsilon)


def _dropout(name: str, kept: Mapping[str, float]) -> Rule:
    def rule(operator: Operator, x: Tensor, ratio: Value | None = None, mode: Value | None = None) -> object:
        del mode  # false in every model that is written for inference
        share = operator.get("ratio", _DROPPED) if ratio is None else float(array(ratio).ravel()[0])
        made = functional.dropout(x, share * kept.get(name, 1.0), training=True)
        return made if operator.outputs == 1 else (made, torch.ones_like(made).bool())

    return rule


def _gemm(operator: Operator, a: Value, b: Value, c: Value | None = None) -> Tensor:
    plain = operator.get("alpha", 1.0) == 1 and operator.get("beta", 1.0) == 1 and not operator.get("transA", 0)
    if not plain or (c is not None and tensor(c).ndim != 1):
        found: Tensor = RULES["Gemm"](operator, a, b, c)
        return found
    weight = tensor(b) if operator.get("transB", 0) else tensor(b).T
    return functional.linear(tensor(a), weight, None if c is None else tensor(c))


def _max_pool(operator: Operator, x: Tensor) -> Tensor:
    kernel = operator.get("kernel_shape")
    pads = operator.get("pads") or [0] * (2 * len(kernel))
    half = len(kernel)
    even = all(a == b and 2 * a <= k for a, b, k in zip(pads[:half], pads[half:], kernel, strict=True))
    usual = (
        operator.get("auto_pad", "NOTSET") == "NOTSET" and not operator.get("ceil_mode", 0) and operator.outputs == 1
    )
    if half != 2 or not even or not usual:
        found: Tensor = RULES["MaxPool"](operator, x)
        return found
    return functional.max_pool2d(
        x, kernel, operator.get("strides") or [1, 1], pads[:half], operator.get("dilations") or [1, 1]
    )


def _average_pool(operator: Operator, x: Tensor) -> Tensor:
    kernel = operator.get("kernel_shape")
    pads = operator.get("pads") or [0] * (2 * len(kernel))
    plain = not any(pads) and not operator.get("ceil_mode", 0) and operator.get("auto_pad", "NOTSET") == "NOTSET"
    if len(kernel) != 2 or not plain or set(operator.get("dilations") or [1]) != {1}:
        found: Tensor = RULES["AveragePool"](operator, x)
        return found
    return functional.avg_pool2d(x, kernel, operator.get("strides") or [1, 1])


def _clip(operator: Operator, x: Tensor, low: Value | None = None, high: Value | None = None) -> Tensor:
    bounds = [None if bound is None else float(array(bound).ravel()[0]) for bound in (low, high)]
    if operator.opset >= 11 and bounds == [0.0, 6.0]:
        return functional.relu6(x)
    found: Tensor = RULES["Clip"](operator, x, low, high)
    return found


FAST: Mapping[str, Rule] = {
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Gemm": _gemm,
    "HardSigmoid": lambda operator, x: (
        functional.hardsigmoid(x)
        if abs(operator.get("alpha", 0.2) - 1 / 6) < 1e-6 and operator.get("beta", 0.5) == 0.5
        else RULES["HardSigmoid"](operator, x)
    ),
    "HardSwish": lambda operator, x: functional.hardswish(x),
    "MaxPool": _max_pool,
}
