"""Where in the graph a selection for a consumer is made: as early as possible, and never in the midst of operators that
a runtime computes together.

A runtime computes a layer in integers where a DequantizeLinear stands directly in front of it, and a QuantizeLinear
directly behind it. So no selection is made on a value in floating point between these: it is made of the integers, and
each consumer may have a DequantizeLinear of its own, which takes no time.
"""

from __future__ import annotations

from collections import Counter

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.flow import Role
from upscale_onnx.channels.step import Step

_QUANTISES, _DEQUANTISES = "QuantizeLinear", "DequantizeLinear"


def passes_selection(step: Step, axis: int) -> bool:
    """Whether a selection may be made in front of `step` instead of behind it."""
    if step.flow.role is not Role.POINTWISE:
        return False
    dynamic = [found for found in step.maps if found is not None]
    out = step.flow.outputs[0]
    return len(dynamic) == 1 and out is not None and dynamic[0].shape == out.shape and dynamic[0].axes == (axis,)


def is_copied(step: Step, axis: int) -> bool:
    """Whether a selection is made in front of `step` even if others read its result: its reader then gets a copy."""
    return step.op.op_type == _DEQUANTISES and passes_selection(step, axis)


def joins(step: Step, axis: int) -> bool:
    """Whether `step` is a Concat along `axis`, whose parts may be selected from instead."""
    out = step.flow.outputs[0]
    return (
        step.flow.role is Role.JOIN
        and out is not None
        and out.axes == (axis,)
        and step.op.axis("axis", 1, out.rank) == axis
    )


class Places:
    """The places of selections in an analysed graph.

    readers: how often each value is read; by default by the nodes of the analysis.
    """

    def __init__(self, analysis: Analysis, readers: Counter[str] | None = None) -> None:
        self._producers = {name: step for step in analysis.steps for name in step.outputs}
        self._readers = Counter(name for step in analysis.steps for name in step.inputs) if readers is None else readers
        self._outputs = analysis.outputs

    def alone(self, name: str) -> bool:
        """Whether the value has a single reader."""
        return self._readers[name] == 1 and name not in self._outputs

    def integers(self, name: str, axis: int) -> str:
        """The integers of which a DequantizeLinear makes the value `name`; `name` itself where none makes it."""
        step = self._producers.get(name)
        return name if step is None or not is_copied(step, axis) else source(step)

    def way(self, name: str, axis: int, shared: bool = False) -> tuple[Step, ...]:
        """The nodes in front of which a selection of `name` for one reader is made, the last one of the graph first.

        shared: whether the value has other readers, whatever their count says.
        """
        passed: list[Step] = []
        step = self._producers.get(name)
        while step is not None and (is_copied(step, axis) or self._moves(step, name, axis, shared)):
            passed.append(step)
            shared = shared or not self.alone(name)
            name = source(step)
            step = self._producers.get(name)
        joined = step is not None and not shared and self.alone(name) and joins(step, axis)
        return tuple(passed) if joined else _integers_first(passed)

    def _moves(self, step: Step, name: str, axis: int, shared: bool) -> bool:
        return not shared and self.alone(name) and passes_selection(step, axis)


def source(step: Step) -> str:
    """The value of which a node with a single input that is no constant computes its result."""
    return next(name for name, found in zip(step.inputs, step.maps, strict=True) if found is not None)


def _integers_first(passed: list[Step]) -> tuple[Step, ...]:
    """The nodes up to the first QuantizeLinear that no DequantizeLinear comes in front of."""
    dequantised = False
    count = len(passed)
    for number in range(len(passed) - 1, -1, -1):
        dequantised = dequantised or passed[number].op.op_type == _DEQUANTISES
        if passed[number].op.op_type == _QUANTISES and not dequantised:
            count = number
    return tuple(passed[:count])
