"""The entry to pruning for compiles, most of which prune nothing: what pruning and repair need is slow to import."""

from __future__ import annotations

import onnx

from upscale_onnx.options import Options
from upscale_onnx.pruning.pruned import Pruned
from upscale_onnx.types import Progress


def pruned(model: onnx.ModelProto, options: Options, progress: Progress | None = None) -> Pruned:
    """What `prune` returns, or raises. It is imported where there is anything to do or to refuse."""
    asked = options.prune
    if not asked.prunes and asked.repair is None and asked.calibration is None:
        return Pruned(model, 0, model)
    from upscale_onnx.pruning.prune import prune

    return prune(model, options, progress)
