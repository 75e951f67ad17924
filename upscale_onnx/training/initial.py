"""Weights drawn anew, for training from the beginning."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.masks.mask_model import weight_array
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.training.learned import Kind, Learned, learned_constants
from upscale_onnx.types import Array

_TABLE = 0.02  # standard deviation of tables, and of terms with several axes, as of embeddings
_PLAIN: dict[Kind, float] = {"bias": 0, "shift": 0, "term": 0, "mean": 0, "scale": 1, "factor": 1, "variance": 1}
_SLOPE = 0.25


def drawn_anew(model: onnx.ModelProto, seed: int, *, norms: bool) -> onnx.ModelProto:
    """A copy of `model` with new values for what is learned. Entries that must not change, zeros of masks among them,
    stay as they are.

    Weights are normal with standard deviation sqrt(2 / fan-in), biases 0, norms 1 and 0 with statistics 0 and 1.

    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 10.
    """
    found = onnx.ModelProto()
    found.CopyFrom(model)
    rng = np.random.default_rng(seed)
    tensors = constant_tensors(found)
    for name, each in learned_constants(model, norms=norms).items():
        old = weight_array(tensors[name])
        new = _drawn(each, old.shape, rng).astype(old.dtype)
        if each.free is not None:
            new = np.where(each.free, new, old)
        tensors[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(new).reshape(old.shape), name))
    return found


def _drawn(each: Learned, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if each.kind == "weight":
        return rng.normal(0, math.sqrt(2 / max(each.fan_in, 1)), shape)
    if each.kind == "slope":
        return np.full(shape, _SLOPE)
    if each.kind == "table" or (each.kind == "term" and sum(size > 1 for size in shape) > 1):
        return rng.normal(0, _TABLE, shape)
    return np.full(shape, _PLAIN[each.kind], np.float64)
