"""Condensa's programming model for ONNX models: schemes, objectives and the L-C optimiser, joined by a compressor.

Source: Joseph et al., "A Programmable Approach to Model Compression", arXiv 1911.02497, 2019.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upscale_onnx.condensa.compressor import Compressor
    from upscale_onnx.condensa.goals import Constrain, Maximize, Minimize
    from upscale_onnx.condensa.lc import LC
    from upscale_onnx.condensa.objectives import Latency, MACs, Size, Throughput
    from upscale_onnx.condensa.outcome import Compressed
    from upscale_onnx.condensa.schemes import BlockPrune, Compose, FilterPrune, NeuronPrune, Prune

__all__ = [
    "LC",
    "BlockPrune",
    "Compose",
    "Compressed",
    "Compressor",
    "Constrain",
    "FilterPrune",
    "Latency",
    "MACs",
    "Maximize",
    "Minimize",
    "NeuronPrune",
    "Prune",
    "Size",
    "Throughput",
]

_HOMES = {
    "compressor": ("Compressor",),
    "goals": ("Constrain", "Maximize", "Minimize"),
    "lc": ("LC",),
    "objectives": ("Latency", "MACs", "Size", "Throughput"),
    "outcome": ("Compressed",),
    "schemes": ("BlockPrune", "Compose", "FilterPrune", "NeuronPrune", "Prune"),
}


def __getattr__(name: str) -> Any:
    """The object with the public name `name`, imported on first use: training needs PyTorch."""
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
