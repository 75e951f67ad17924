"""Hold weights whole: nothing is known of their values any more, so that the nodes that read them stay as they are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from upscale_onnx.model.constants import HeldConstant
from upscale_onnx.passes.editing import replace_uses


@dataclass(frozen=True)
class HoldWeights:
    """Holds the initializers and the values of Constant nodes called `names`."""

    names: Collection[str]

    def __call__(self, graph: gs.Graph) -> int:
        """Edit `graph`, which nobody has analysed; returns how many weights are held."""
        held = [tensor for name, tensor in graph.tensors().items() if name in self.names]
        for tensor in held:
            weight = tensor if isinstance(tensor, gs.Constant) else tensor.inputs[0].attrs["value"]
            replace_uses(tensor, HeldConstant(tensor.name, weight._values))
        return len(held)
