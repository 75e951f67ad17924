"""Operators that contract, pool or normalise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from upscale_onnx.model.padding import halves, same_pads
from upscale_onnx.torch_backend.values import Operator, Rule, Tensor, Value, ints, tensor

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE_POOL = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _window(operator: Operator, kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Strides and dilations, one per spatial axis."""
    strides = list(operator.get("strides") or [1] * len(kernel))
    return strides, list(operator.get("dilations") or [1] * len(kernel))


def _pads(operator: Operator, sizes: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
    """The padding before and behind each spatial axis, also for `auto_pad`."""
    strides, dilations = _window(operator, kernel)
    auto = operator.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return [(0, 0)] * len(kernel)
    if auto == "NOTSET":
        given = list(operator.get("pads") or [0] * (2 * len(kernel)))
        return list(zip(given[: len(kernel)], given[len(kernel) :], strict=True))
    return same_pads(auto, sizes, kernel, strides, dilations)


def _padded(x: Tensor, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    flat = [amount for pair in reversed(pads) for amount in pair]
    return functional.pad(x, flat, value=value) if any(flat) else x


def _conv(operator: Operator, x: Value, weight: Value, bias: Value | None = None) -> Tensor:
    data, w = tensor(x), tensor(weight)
    kernel = list(w.shape[2:])
    if len(kernel) not in _CONV:
        raise operator.unsupported(f"{len(kernel)} spatial axes")
    strides, dilations = _window(operator, kernel)
    pads = _pads(operator, data.shape[2:], kernel)
    b = None if bias is None else tensor(bias)
    even = all(before == behind for before, behind in pads)
    data = data if even else _padded(data, pads)
    padding = [before for before, _ in pads] if even else [0] * len(kernel)
    return _CONV[len(kernel)](data, w, b, strides, padding, dilations, operator.get("group", 1))


def _conv_transpose(operator: Operator, x: Value, weight: Value, bias: Value | None = None) -> Tensor:
    data, w = tensor(x), tensor(weight)
    kernel = list(w.shape[2:])
    if len(kernel) not in _TRANSPOSED:
        raise operator.unsupported(f"{len(kernel)} spatial axes")
    strides, dilations = _window(operator, kernel)
    more = list(operator.get("output_padding") or [0] * len(kernel))
    full = [
        (n - 1) * stride + (k - 1) * dilation + 1 + extra
        for n, k, stride, dilation, extra in zip(data.shape[2:], kernel, strides, dilations, more, strict=True)
    ]
    pads = _transposed_pads(operator, full, data.shape[2:], strides)
    b = None if bias is None else tensor(bias)
    # The whole output is computed, then cut: torch's output padding must be below the stride, that of ONNX need not be.
    made = _TRANSPOSED[len(kernel)](data, w, None, strides, 0, 0, operator.get("group", 1), dilations)
    made = _padded(made, [(0, extra) for extra in more])
    for axis, (before, behind) in enumerate(pads, 2):
        made = made.narrow(axis, before, made.shape[axis] - before - behind)
    return made if b is None else made + b.reshape(1, -1, *[1] * len(kernel))


def _transposed_pads(
    operator: Operator, full: Sequence[int], sizes: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    auto, wanted = operator.get("auto_pad", "NOTSET"), ints(operator.get("output_shape"))
    if wanted is None and auto in ("NOTSET", "VALID"):
        return _pads(operator, sizes, full)
    if wanted is None:
        wanted = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    totals = [max(n - size, 0) for n, size in zip(full, wanted[-len(full) :], strict=True)]
    return halves(auto, totals)


def _gemm(operator: Operator, a: Value, b: Value, c: Value | None = None) -> Tensor:
    left = tensor(a).T if operator.get("transA", 0) else tensor(a)
    right = tensor(b).T if operator.get("transB", 0) else tensor(b)
    product = float(operator.get("alpha", 1.0)) * (left @ right)
    return product if c is None else product + float(operator.get("beta", 1.0)) * tensor(c)


def _matmul(operator: Operator, a: Value, b: Value) -> Tensor:
    return tensor(a) @ tensor(b)


def _einsum(operator: Operator, *values: Value) -> Tensor:
    return torch.einsum(operator.get("equation"), *[tensor(value) for value in values])


def _pool_pads(operator: Operator, x: Tensor, kernel: Sequence[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """The padding of each spatial axis, and how much more the last window needs at its end if sizes are rounded up."""
    strides, dilations = _window(operator, kernel)
    pads = _pads(operator, x.shape[2:], kernel)
    extra = [0] * len(kernel)
    if not operator.get("ceil_mode", 0) or operator.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return pads, extra
    for i, (size, k, (before, behind)) in enumerate(zip(x.shape[2:], kernel, pads, strict=True)):
        reach = (k - 1) * dilations[i] + 1
        count = math.ceil((size + before + behind - reach) / strides[i]) + 1
        count -= (count - 1) * strides[i] >= size + before  # a window that would begin in the padding
        extra[i] = max((count - 1) * strides[i] + reach - size - before - behind, 0)
    return pads, extra


def _max_pool(operator: Operator, x: Value) -> Tensor:
    data, kernel = tensor(x), list(operator.get("kernel_shape"))
    if operator.outputs > 1 or len(kernel) not in _MAX_POOL:
        raise operator.unsupported("indices" if operator.outputs > 1 else f"{len(kernel)} spatial axes")
    strides, dilations = _window(operator, kernel)
    pads, extra = _pool_pads(operator, data, kernel)
    wider = [(before, behind + more) for (before, behind), more in zip(pads, extra, strict=True)]
    return _MAX_POOL[len(kernel)](_padded(data, wider, -math.inf), kernel, strides, 0, dilations)


def _average_pool(operator: Operator, x: Value) -> Tensor:
    data, kernel = tensor(x), list(operator.get("kernel_shape"))
    strides, dilations = _window(operator, kernel)
    if len(kernel) not in _AVERAGE_POOL or set(dilations) != {1}:
        raise operator.unsupported("dilations" if set(dilations) != {1} else f"{len(kernel)} spatial axes")
    pads, extra = _pool_pads(operator, data, kernel)
    ones = torch.ones((1, 1, *data.shape[2:]), dtype=data.dtype)
    counted = _padded(ones, pads, 1.0 if operator.get("count_include_pad", 0) else 0.0)
    behind = [(0, more) for more in extra]
    pool = _AVERAGE_POOL[len(kernel)]
    total = pool(_padded(_padded(data, pads), behind), kernel, strides)
    return total / pool(_padded(counted, behind), kernel, strides)


def _global_average(operator: Operator, x: Value) -> Tensor:
    return tensor(x).mean(dim=tuple(range(2, tensor(x).ndim)), keepdim=True)


def _global_max(operator: Operator, x: Value) -> Tensor:
    return tensor(x).amax(dim=tuple(range(2, tensor(x).ndim)), keepdim=True)


def _batch_norm(operator: Operator, x: Value, scale: Value, bias: Value, mean: Value, variance: Value) -> Tensor:
    if operator.get("training_mode", 0):
        raise operator.unsupported("statistics of the batch")
    data = tensor(x)
    s, b, m, v = (tensor(value, data) for value in (scale, bias, mean, variance))
    return functional.batch_norm(data, m, v, s, b, training=False, eps=operator.get("epsilon", 1e-5))


def _instance_norm(operator: Operator, x: Value, scale: Value, bias: Value) -> Tensor:
    return functional.instance_norm(
        tensor(x), None, None, tensor(scale), tensor(bias), eps=operator.get("epsilon", 1e-5)
    )


def _layer_norm(operator: Operator, x: Value, scale: Value, bias: Value | None = None) -> Tensor:
    if operator.outputs > 1:
        raise operator.unsupported("mean and deviation as outputs")
    data, axis = tensor(x), operator.get("axis", -1)
    shape = list(data.shape[axis % data.ndim :])
    normal = functional.layer_norm(data, shape, eps=operator.get("epsilon", 1e-5)) * tensor(scale)
    return normal if bias is None else normal + tensor(bias)


def _group_norm(operator: Operator, x: Value, scale: Value, bias: Value) -> Tensor:
    data, groups = tensor(x), operator.get("num_groups")
    s, b = tensor(scale), tensor(bias)
    if operator.opset < 21:  # one scale per group, not per channel
        s, b = (value.repeat_interleave(data.shape[1] // groups) for value in (s, b))
    return functional.group_norm(data, groups, s, b, operator.get("epsilon", 1e-5))


def _rms_norm(operator: Operator, x: Value, scale: Value) -> Tensor:
    data = tensor(x)
    axes = tuple(range(operator.get("axis", -1) % data.ndim, data.ndim))
    square = data.square().mean(dim=axes, keepdim=True)
    return data * torch.rsqrt(square + operator.get("epsilon", 1e-5)) * tensor(scale)


def _lp_norm(operator: Operator, x: Value) -> Tensor:
    data, axis = tensor(x), operator.get("axis", -1)
    length = torch.linalg.vector_norm(data, ord=operator.get("p", 2), dim=axis, keepdim=True)
    return torch.where(length > 0, data / torch.where(length > 0, length, 1.0), torch.zeros_like(data))


def _lrn(operator: Operator, x: Value) -> Tensor:
    data, size = tensor(x), operator.get("size")
    before = (size - 1) // 2
    rows = data.square().movedim(1, -1).reshape(-1, 1, data.shape[1])
    total = functional.avg_pool1d(functional.pad(rows, (before, size - 1 - before)), size, 1)
    mean = total.reshape(data.movedim(1, -1).shape).movedim(-1, 1)
    bias, alpha, beta = (float(operator.get(n, d)) for n, d in (("bias", 1.0), ("alpha", 1e-4), ("beta", 0.75)))
    return data / torch.pow(bias + alpha * mean, beta)


def _softmax(operator: Operator, x: Value) -> Tensor:
    function = torch.softmax if operator.op_type == "Softmax" else torch.log_softmax
    data = tensor(x)
    if operator.opset >= 13:
        return function(data, dim=operator.get("axis", -1))
    axis = operator.get("axis", 1) % max(data.ndim, 1)
    rows = data.reshape(math.prod(data.shape[:axis]), -1)
    return function(rows, dim=1).reshape(data.shape)


RULES: Mapping[str, Rule] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax,
    "LpNormalization": _lp_norm,
    "LRN": _lrn,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "RMSNormalization": _rms_norm,
    "Softmax": _softmax,
}
