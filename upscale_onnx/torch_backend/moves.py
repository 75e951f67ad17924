"""Operators that move, pick or sum elements along axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from upscale_onnx.torch_backend.values import Operator, Rule, Tensor, Value, array, from_array, ints, parameter, tensor


def _reduce(function: Callable[[Tensor, list[int]], Tensor]) -> Rule:
    def rule(operator: Operator, x: Value, *more: Value | None) -> Tensor:
        data = tensor(x)
        axes = parameter(operator, "axes", (x, *more), 1)
        if not axes:
            if operator.get("noop_with_empty_axes", 0):
                return data
            axes = list(range(data.ndim))
        axes = [axis % data.ndim for axis in axes]
        made = function(data, axes)
        return made if operator.get("keepdims", 1) else _squeezed(made, axes)

    return rule


def _squeezed(x: Tensor, axes: Sequence[int]) -> Tensor:
    return x.reshape([size for axis, size in enumerate(x.shape) if axis not in axes])


def _product(x: Tensor, axes: Sequence[int]) -> Tensor:
    return functools.reduce(lambda made, axis: made.prod(dim=axis, keepdim=True), axes, x)


def _reshape(operator: Operator, x: Value, shape: Value | None = None) -> Tensor:
    data = tensor(x)
    wanted = ints(operator.get("shape") if shape is None else shape) or []
    if not operator.get("allowzero", 0):
        wanted = [data.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return data.reshape(wanted)


def _flatten(operator: Operator, x: Value) -> Tensor:
    data = tensor(x)
    axis = operator.get("axis", 1)
    axis = axis if axis >= 0 else axis + data.ndim
    return data.reshape(math.prod(data.shape[:axis]), math.prod(data.shape[axis:]))


def _transpose(operator: Operator, x: Value) -> Tensor:
    data = tensor(x)
    return data.permute(operator.get("perm") or list(range(data.ndim))[::-1])


def _squeeze(operator: Operator, x: Value, *more: Value | None) -> Tensor:
    data = tensor(x)
    axes = parameter(operator, "axes", (x, *more), 1)
    gone = [i for i, size in enumerate(data.shape) if size == 1] if axes is None else [a % data.ndim for a in axes]
    return _squeezed(data, gone)


def _unsqueeze(operator: Operator, x: Value, *more: Value | None) -> Tensor:
    data = tensor(x)
    axes = parameter(operator, "axes", (x, *more), 1) or []
    rank = data.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        data = data.unsqueeze(axis)
    return data


def _concat(operator: Operator, *values: Value) -> Tensor:
    return torch.cat([tensor(value) for value in values], dim=operator.get("axis"))


def _split(operator: Operator, x: Value, *more: Value | None) -> Any:
    data, axis = tensor(x), operator.get("axis", 0)
    sizes = parameter(operator, "split", (x, *more), 1)
    if sizes is None:
        most = math.ceil(data.shape[axis] / operator.outputs)
        sizes = [min(most, data.shape[axis] - most * i) for i in range(operator.outputs)]
    pieces = torch.split(data, sizes, dim=axis)
    return pieces if operator.outputs > 1 else pieces[0]


def _shape(operator: Operator, x: Value) -> Value:
    return np.array(x.shape[operator.get("start", 0) : operator.get("end", len(x.shape))], np.int64)


def _slice(operator: Operator, x: Value, *more: Value | None) -> Tensor:
    data = tensor(x)
    starts, ends = (parameter(operator, name, (x, *more), i) or [] for i, name in ((1, "starts"), (2, "ends")))
    axes = parameter(operator, "axes", (x, *more), 3) or list(range(len(starts)))
    steps = parameter(operator, "steps", (x, *more), 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = data.shape[axis]
        chosen = range(size)[slice(start, None if step < 0 and end < -size else end, step)]
        if step > 0:
            place = [slice(None)] * data.ndim
            place[axis] = slice(chosen.start, max(chosen.stop, chosen.start), step)
            data = data[tuple(place)]
        else:
            data = data.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64))
    return data


def _gather(operator: Operator, x: Value, indices: Value) -> Tensor:
    data, axis = tensor(x), operator.get("axis", 0) % max(tensor(x).ndim, 1)
    places = from_array(np.asarray(array(indices), np.int64)) % data.shape[axis]
    shape = [*data.shape[:axis], *places.shape, *data.shape[axis + 1 :]]
    return data.index_select(axis, places.reshape(-1)).reshape(shape)


def _expand(operator: Operator, x: Value, shape: Value) -> Tensor:
    data = tensor(x)
    return data.expand(np.broadcast_shapes(data.shape, tuple(ints(shape) or [])))


def _tile(operator: Operator, x: Value, repeats: Value) -> Tensor:
    return tensor(x).repeat(ints(repeats) or [])


def _pad(operator: Operator, x: Value, *more: Value | None) -> Tensor:
    data, mode = tensor(x), operator.get("mode", "constant")
    pads = parameter(operator, "pads", (x, *more), 1) or []
    axes = parameter(operator, "axes", (x, *more), 3) if len(more) > 2 else None
    value = more[1] if len(more) > 1 else None
    fill = operator.get("value", 0.0) if value is None else float(array(value).ravel()[0])
    chosen = range(data.ndim) if axes is None else [axis % data.ndim for axis in axes]
    half = len(pads) // 2
    for axis, before, behind in zip(chosen, pads[:half], pads[half:], strict=True):
        data = _pad_axis(operator, data, axis, (before, behind), mode, fill)
    return data


def _pad_axis(operator: Operator, x: Tensor, axis: int, pads: tuple[int, int], mode: str, fill: float) -> Tensor:
    if pads == (0, 0):
        return x
    if mode == "constant":
        return functional.pad(x.movedim(axis, -1), pads, value=fill).movedim(-1, axis)
    if mode not in ("reflect", "edge"):
        raise operator.unsupported(f"mode {mode}")
    places = np.pad(np.arange(x.shape[axis]), [max(p, 0) for p in pads], mode=mode)  # type: ignore[call-overload]
    places = places[max(-pads[0], 0) : places.size - max(-pads[1], 0)]
    return x.index_select(axis, from_array(places))


def _depth_to_space(operator: Operator, x: Value) -> Tensor:
    data, block = tensor(x), operator.get("blocksize")
    n, c, h, w = data.shape
    if operator.get("mode", "DCR") == "DCR":
        made = data.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        made = data.reshape(n, c // block**2, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
    return made.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(operator: Operator, x: Value) -> Tensor:
    data, block = tensor(x), operator.get("blocksize")
    n, c, h, w = data.shape
    made = data.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return made.reshape(n, c * block**2, h // block, w // block)


RULES: Mapping[str, Rule] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "ReduceL1": _reduce(lambda x, axes: x.abs().sum(dim=axes, keepdim=True)),
    "ReduceL2": _reduce(lambda x, axes: torch.linalg.vector_norm(x, dim=axes, keepdim=True)),
    "ReduceLogSum": _reduce(lambda x, axes: x.sum(dim=axes, keepdim=True).log()),
    "ReduceLogSumExp": _reduce(lambda x, axes: torch.logsumexp(x, dim=axes, keepdim=True)),
    "ReduceMax": _reduce(lambda x, axes: x.amax(dim=axes, keepdim=True)),
    "ReduceMean": _reduce(lambda x, axes: x.mean(dim=axes, keepdim=True)),
    "ReduceMin": _reduce(lambda x, axes: x.amin(dim=axes, keepdim=True)),
    "ReduceProd": _reduce(_product),
    "ReduceSum": _reduce(lambda x, axes: x.sum(dim=axes, keepdim=True)),
    "ReduceSumSquare": _reduce(lambda x, axes: x.square().sum(dim=axes, keepdim=True)),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
