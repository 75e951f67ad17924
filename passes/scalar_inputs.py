"""Hand operators scalars where they are to read scalars, but read constant vectors of one entry.

onnxruntime runs a Range on computed vectors of one entry, but loads no model in which they are constants. Other edits
make constants of computed values: where a size is known, and where a branch takes the place of its If.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from upscale_onnx.model.content import is_sparse, values_of
from upscale_onnx.model.known import constant_value
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.types import Array

# The inputs that are scalars.
_SCALARS = {
    "Range": (0, 1, 2),
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), (0,)),
    "DFT": (1, 2),
    "STFT": (1, 3),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
}


@dataclass(frozen=True)
class ScalarInputs(Pass):
    """Makes scalars of constant vectors of one entry, for the operators that are to read scalars."""

    purpose: ClassVar = "constants of one entry become scalars where operators read scalars"
    requires: ClassVar = ()
    ensures: ClassVar = ()

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        names: Names | None = None
        edits = 0
        for node in rewrite.graph.nodes:
            if node.domain not in STANDARD_DOMAINS:
                continue
            for index in _SCALARS.get(node.op, ()):
                values = _constant(node.inputs[index]) if index < len(node.inputs) else None
                if values is not None and values.shape == (1,):
                    names = names or Names(rewrite.graph)
                    node.inputs[index] = names.shared(node.inputs[index].name, values.reshape(()))
                    edits += 1
        return Changes(edits)


def _constant(tensor: gs.Tensor) -> Array | None:
    """The values of an initializer or of a Constant node; None for what is computed."""
    if isinstance(tensor, gs.Constant):
        return None if is_sparse(tensor) else values_of(tensor)
    if len(tensor.inputs) != 1 or tensor.inputs[0].op != "Constant":
        return None
    attrs = tensor.inputs[0].attrs
    held = attrs.get("value")
    return constant_value(attrs, _constant(held) if isinstance(held, gs.Constant) else None)
