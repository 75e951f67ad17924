"""He initialisation of a model's weights from the graph."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx

from upscale_onnx.types import Array
from upscale_onnx.unstructured.parameters import parameters

_SCALES = frozenset({"BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization"})


def initialised(model: onnx.ModelProto, values: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """New `values` for what is trained, by name: weights are drawn from N(0, 2 / fan-in), biases are 0, scales of
    normalisations 1. Other tensors, and zeros of weights, stay as they are.

    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015, eq. 10.
    """
    rng, found = np.random.default_rng(seed), dict(values)
    for each in parameters(model):
        if each.name not in values:
            continue
        old = values[each.name]
        if each.kind == "weight" and old.ndim > 1:
            fan_in = old.size // old.shape[0 if each.output_axis is None else each.output_axis]
            drawn = rng.normal(0.0, math.sqrt(2.0 / max(fan_in, 1)), old.shape)
            found[each.name] = np.where(old != 0, drawn, 0.0).astype(old.dtype)
        else:
            is_scale = each.kind == "weight" and not _SCALES.isdisjoint(each.op_types)
            found[each.name] = np.full_like(old, 1.0 if is_scale else 0.0)
    return found


def fresh_statistics(model: onnx.ModelProto, values: Mapping[str, Array]) -> dict[str, Array]:
    """Means of 0 and variances of 1 in place of `values`, the statistics of the model's normalisations."""
    variances = {node.input[4] for node in model.graph.node if node.op_type == "BatchNormalization"}
    return {name: np.full_like(array, 1.0 if name in variances else 0.0) for name, array in values.items()}
