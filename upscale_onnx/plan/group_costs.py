"""What a grouped contraction costs in other groups, with the layers around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.step import Step
from upscale_onnx.costs.costs import Costs
from upscale_onnx.plan.packing import Packing
from upscale_onnx.types import BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class _Beside:
    """A dense layer that creates what the groups read, or reads what they create.

    sources, targets: the classes that it reads and creates.
    """

    op: Op
    sources: IntArray
    targets: IntArray


class GroupCosts:
    """Predicts the time of a grouped contraction and of the dense layers in front of it and behind it."""

    def __init__(self, analysis: Analysis, step: Step, costs: Costs) -> None:
        self._op, self._costs = step.op, costs
        inputs, outputs = (part.ravel() for part in step.flow.evens[0].parts)
        self._channels = inputs.size, outputs.size
        self._reads, self._makes = np.zeros((2, analysis.live.size), bool)
        self._reads[inputs] = self._makes[outputs] = True
        self._beside = tuple(self._layers(analysis))
        self._times: dict[tuple[int, ...], float] = {}

    def _layers(self, analysis: Analysis) -> list[_Beside]:
        found = []
        for step, needed in zip(analysis.steps, analysis.needed, strict=True):
            read, out = step.flow.dense, step.flow.outputs[0] if step.flow.outputs else None
            if not needed or read is None or out is None:
                continue
            if self._makes[read.sources].any() or self._reads[out.labels].any():
                found.append(_Beside(step.op, read.sources, out.labels.ravel()))
        return found

    def price(self, packing: Packing, kept: BoolArray) -> tuple[float, int]:
        """The time in milliseconds where the contraction is computed in these groups, and the size of its weight, which
        decides where times are not known."""
        count, read, made = packing.sizes
        ms = self._timed((count, read, made), self._own, count, read, made)
        for number, layer in enumerate(self._beside):
            sizes = tuple(
                self._held(labels, kept, count * read, count * made) for labels in (layer.sources, layer.targets)
            )
            ms += self._timed((-number - 1, *sizes), self._costs.contraction_ms, layer.op, *sizes)
        return ms, count * read * made

    def _own(self, count: int, read: int, made: int) -> float:
        return self._costs.contraction_ms(grouped(self._op, count, read, made), count * read, count * made)

    def _timed(self, key: tuple[int, ...], function: Callable[..., float], *given: Any) -> float:
        if key not in self._times:
            self._times[key] = function(*given)
        return self._times[key]

    def _held(self, labels: IntArray, kept: BoolArray, read: int, made: int) -> int:
        """How many of `labels` there are, where the contraction reads and creates so many channels."""
        total = 0.0
        beside = kept[labels]
        for own, count, all_ in ((self._reads, read, self._channels[0]), (self._makes, made, self._channels[1])):
            inside = own[labels]
            beside = beside & ~inside
            total += count * int(inside.sum()) / all_
        return round(total) + int(beside.sum())


def grouped(op: Op, count: int, inputs: int, outputs: int) -> Op:
    """The contraction `op` in `count` groups of so many channels, without a name, as far as its time depends on it."""
    found = op.weight_shape
    if found is None:
        return op
    shape, layout = found
    sizes = (count * outputs, inputs) if layout.output_axis == 0 else (count * inputs, outputs)
    dims = list(op.in_dims)
    dims[layout.operand] = (*sizes, *shape[2:])
    return replace(op, name="", in_dims=tuple(dims), attrs={**op.attrs, "group": count})
