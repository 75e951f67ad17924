"""Weights in bodies that repair does not reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from upscale_onnx.errors import ModelError
from upscale_onnx.masks.targets import inner_targets, mask_targets
from upscale_onnx.repair.layers import linear_layers
from upscale_onnx.repair.linear import LinearLayer
from upscale_onnx.runtime.walk import Walk
from upscale_onnx.types import Array


def unreached_weights(model: onnx.ModelProto, batches: Sequence[Mapping[str, Array]], threads: int = 1) -> set[str]:
    """The weights of layers in bodies of `model` that no batch runs, that onnxruntime does not return the values of, or
    that cannot be re-fitted."""
    left = {target.weight for target in inner_targets(model, mask_targets(model))}
    with Walk(model, batches, threads=threads) as walk:
        for layer in linear_layers(model):
            if layer.is_inner:
                walk.advance(layer.position)
                left -= {layer.weight} if _is_run(layer, walk) else set()
    return left


def _is_run(layer: LinearLayer, walk: Walk) -> bool:
    try:
        return any(made.size for made in walk.values(layer.output))
    except ModelError:
        return False
