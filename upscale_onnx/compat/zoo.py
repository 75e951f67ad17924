"""Networks of torchvision by name, as ONNX."""

from __future__ import annotations

from typing import Any

import onnx

from upscale_onnx.compat.torch_export import export_module, zeros
from upscale_onnx.errors import ArgumentError, did_you_mean

_SIDE = 224


def torchvision_model(name: str) -> onnx.ModelProto:
    """The network that torchvision calls `name`, with its best weights, as ONNX with a dynamic batch size.

    Raises:
        ArgumentError: torchvision is not installed, has no such network, or cannot download its weights.
        ModelError: the network cannot be exported.
    """
    models = _models(name)
    known = models.list_models()
    if name not in known:
        raise ArgumentError(f"{name}: neither a file nor a network of torchvision{did_you_mean(name, known)}")
    weights = models.get_model_weights(name)
    try:
        network = models.get_model(name, weights="DEFAULT")
    except Exception as error:  # errors of the network or the disk, or a broken download
        raise ArgumentError(f"{name}: torchvision cannot fetch its weights: {' '.join(str(error).split())}") from error
    side = _side(next(iter(weights)))
    return export_module(network, (zeros(network, (1, 3, side, side)),), dynamic_batch=True).model


def _models(name: str) -> Any:
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision was built for another torch
        raise ArgumentError(
            f"{name}: no such file; and the networks of torchvision cannot be used: {' '.join(str(error).split())}"
        ) from error
    return models


def _side(weights: Any) -> int:
    """The height, and width, of the images that a network was trained on, in pixels."""
    crop = getattr(weights.value.transforms(), "crop_size", None)
    return int(crop[0]) if crop else _SIDE
