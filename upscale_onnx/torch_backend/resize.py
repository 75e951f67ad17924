"""Resize and Upsample, axis by axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from upscale_onnx.torch_backend.values import Operator, Rule, Tensor, Value, array, from_array, ints, tensor
from upscale_onnx.types import FloatArray


def _positions(mode: str, size: int, made: int, scale: float) -> FloatArray | None:
    """The position, among `size` elements of the input, of each of `made` elements; None for an unknown mode."""
    places = np.arange(made, dtype=np.float64)
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and made > 1):
        return (places + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return np.zeros(made)
    if mode == "align_corners":
        return places * ((size - 1) / (made - 1)) if made > 1 else np.zeros(made)
    if mode == "asymmetric":
        return places / scale
    if mode == "half_pixel_symmetric":
        centre = size / 2 * (1 - made / (scale * size))
        return centre + (places + 0.5) / scale - 0.5
    if mode == "tf_half_pixel_for_nn":
        return (places + 0.5) / scale
    return None


def _nearest(positions: FloatArray, rounding: str) -> FloatArray:
    if rounding == "floor":
        return np.floor(positions)
    if rounding == "ceil":
        return np.ceil(positions)
    if rounding == "round_prefer_ceil":
        return np.floor(positions + 0.5)
    return np.ceil(positions - 0.5)


def _axis(x: Tensor, axis: int, positions: FloatArray, mode: str, rounding: str) -> Tensor:
    last = x.shape[axis] - 1
    if mode == "nearest":
        return _pick(x, axis, np.clip(_nearest(positions, rounding), 0, last))
    inside = np.clip(positions, 0, last)
    low = np.floor(inside)
    share = from_array(inside - low).to(x.dtype).reshape([-1, *[1] * (x.ndim - axis - 1)])
    return _pick(x, axis, low) * (1 - share) + _pick(x, axis, np.minimum(low + 1, last)) * share


def _pick(x: Tensor, axis: int, places: FloatArray) -> Tensor:
    return x.index_select(axis, from_array(places.astype(np.int64)))


def _rescaled(operator: Operator, x: Tensor, axes: Sequence[int], scales: Sequence[float], sizes: Sequence[int]) -> Any:
    mode = operator.get("mode", "nearest")
    where = operator.get("coordinate_transformation_mode", "half_pixel" if operator.opset >= 11 else "asymmetric")
    rounding = operator.get("nearest_mode", "round_prefer_floor" if operator.opset >= 11 else "floor")
    if mode not in ("nearest", "linear") or operator.get("antialias", 0):
        raise operator.unsupported("antialias" if operator.get("antialias", 0) else f"mode {mode}")
    for axis, scale, made in zip(axes, scales, sizes, strict=True):
        if made == x.shape[axis] and scale == 1:
            continue
        positions = _positions(where, x.shape[axis], made, scale)
        if positions is None:
            raise operator.unsupported(f"coordinates {where}")
        x = _axis(x, axis, positions, mode, rounding)
    return x


def _resize(operator: Operator, x: Value, *more: Value | None) -> Any:
    data = tensor(x)
    inputs = (None, *more) if operator.opset < 11 else more  # (roi, scales, sizes)
    scales_in = inputs[1] if len(inputs) > 1 else None
    sizes_in = inputs[2] if len(inputs) > 2 else None
    axes = [axis % data.ndim for axis in operator.get("axes") or range(data.ndim)]
    before = [data.shape[axis] for axis in axes]
    if sizes_in is not None:
        sizes = ints(sizes_in) or []
        if operator.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise operator.unsupported("a kept aspect ratio")
        return _rescaled(operator, data, axes, [m / n for m, n in zip(sizes, before, strict=True)], sizes)
    if scales_in is None and not operator.get("scales"):
        raise operator.unsupported("neither scales nor sizes")
    given = operator.get("scales") if scales_in is None else array(scales_in).ravel()
    scales = [float(scale) for scale in given]
    sizes = [int(np.floor(n * s)) for n, s in zip(before, scales, strict=True)]
    return _rescaled(operator, data, axes, scales, sizes)


RULES: Mapping[str, Rule] = {"Resize": _resize, "Upsample": _resize}
