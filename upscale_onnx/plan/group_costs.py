"""What a grouped contraction costs in other groups, with the layers around it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.step import Step
from upscale_onnx.costs.costs import Costs
from upscale_onnx.plan.packing import Packing
from upscale_onnx.types import Array, BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class _Beside:
    """A layer that creates or reads the same channels. sources, targets: the classes that it reads and creates."""

    op: Op
    sources: IntArray
    targets: IntArray

    def ms(self, costs: Costs, held: BoolArray) -> float:
        """Its time where the classes `held` are there."""
        return costs.contraction_ms(self.op, int(held[self.sources].sum()), int(held[self.targets].sum()))


class GroupCosts:
    """Predicts the time of a grouped contraction and of the dense layers in front of it and behind it."""

    def __init__(self, analysis: Analysis, step: Step, costs: Costs) -> None:
        self._op, self._costs = step.op, costs
        self._inputs, self._outputs = (part.ravel() for part in step.flow.evens[0].parts)
        self._beside = tuple(_beside(analysis, self._inputs, self._outputs))

    def price(self, packing: Packing, kept: BoolArray) -> tuple[float, int]:
        """The time in milliseconds where the contraction is computed in these groups, and the size of its weight, which
        decides where times are not known."""
        held = kept.copy()
        for labels in (packing.inputs, packing.outputs):
            held[labels] = True
        own = grouped(self._op, len(packing.inputs), packing.inputs.shape[1], packing.outputs.shape[1])
        around = sum(layer.ms(self._costs, held) for layer in self._beside)
        ms = self._costs.contraction_ms(own, packing.inputs.size, packing.outputs.size) + around
        return ms, packing.inputs.size * packing.outputs.shape[1]


def grouped(op: Op, count: int, inputs: int, outputs: int) -> Op:
    """The contraction `op` in `count` groups of so many channels, without a name, as far as its time depends on it."""
    found = op.weight
    if found is None:
        return op
    weight, layout = found
    sizes = (count * outputs, inputs) if layout.output_axis == 0 else (count * inputs, outputs)
    constants: list[Array | None] = [None] * len(op.constants)
    # A single zero, seen as a whole weight.
    constants[layout.operand] = np.broadcast_to(np.zeros((), weight.dtype), (*sizes, *weight.shape[2:]))
    return replace(op, name="", constants=constants, attrs={**op.attrs, "group": count})


def _beside(analysis: Analysis, inputs: IntArray, outputs: IntArray) -> list[_Beside]:
    found = []
    near = np.zeros(analysis.live.size, bool)
    near[inputs] = near[outputs] = True
    for step, needed in zip(analysis.steps, analysis.needed, strict=True):
        read, out = step.flow.dense, step.flow.outputs[0] if step.flow.outputs else None
        if not needed or read is None or out is None:
            continue
        if near[read.sources].any() or near[out.labels].any():
            found.append(_Beside(step.op, read.sources, out.labels.ravel()))
    return found
