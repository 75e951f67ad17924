"""The interface of the reference implementation of UPSCALE, on ONNX models, their paths and torch modules.

    MaskingManager(model).importance(LAMP()).mask(amount=0.25)
    result = PruningManager(model).compute([x]).prune()

It does what `upscale_onnx.compile` does, under other names. What differs from the reference:

- `prune` returns a `Result`: the pruned ONNX model in `.model`, and a report. The model given to the manager does not
  get smaller: a torch module stays a torch module with zeros in its weights.
- Weights are addressed by the names of ONNX initializers, or of the parameters of a torch module.
- Any Conv, ConvTranspose, Gemm or MatMul can be pruned, except on a side with fewer than eight channels, or where the
  channels are outputs of the network. The reference excludes layers of 3 inputs or 1000 outputs and certain classes.
- Nothing is written to disk, and no state is kept on modules.
"""

from __future__ import annotations

from upscale_onnx.compat.importance import FPGM, L1, L2, LAMP, HRank, Importance, Magnitude, Random
from upscale_onnx.compat.masking_manager import MaskingManager
from upscale_onnx.compat.pruning_manager import PruningManager
from upscale_onnx.compat.segments import Layer, MaskSegment

__all__ = [
    "FPGM",
    "L1",
    "L2",
    "LAMP",
    "HRank",
    "Importance",
    "Layer",
    "Magnitude",
    "MaskSegment",
    "MaskingManager",
    "PruningManager",
    "Random",
]
