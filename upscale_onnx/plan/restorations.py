"""In front of which nodes constant channels can be restored, so that the layers behind need not compute them.

Some nodes need channels that are the same for any input: a normalisation over groups counts zeros, as a Softmax does,
and an Add fills them with what the other operand holds. Of a node that no rule looks through, nothing is known. What
makes these channels keeps its weights for them, unless they are put back.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from onnx import TensorProto

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.channel_map import ChannelMap, is_constant
from upscale_onnx.channels.demand import demanded_positions
from upscale_onnx.channels.flow import Role
from upscale_onnx.channels.step import Step
from upscale_onnx.model import Shape
from upscale_onnx.model.bodies import DOMAIN as BODIES

_TYPES = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


@dataclass(frozen=True, eq=False)
class Use:
    """A use of a value: the node that reads it, and the index of its input. whole: whether the channels are read as a
    whole there, not just changed one by one."""

    step: Step
    input: int
    whole: bool

    @property
    def name(self) -> str:
        """The name of the value."""
        return self.step.inputs[self.input]

    @property
    def found(self) -> ChannelMap | None:
        """The map of the value."""
        return self.step.maps[self.input]


def share_of_constants(found: ChannelMap | None, shape: Shape | None) -> float:
    """The share of the channels of a value that are constant, if a Pad and a Gather can restore them; else 0."""
    if found is None or shape is None or shape.dtype not in _TYPES or len(found.axes) != 1:
        return 0.0
    if found.merged is not None or found.places is not None:
        return 0.0
    share = float(is_constant(found.state).mean())
    return share if share < 1 else 0.0


def restorations(analysis: Analysis, shapes: Mapping[str, Shape]) -> dict[str, tuple[Use, ...]]:
    """The uses in front of which constant channels can be restored, by the name of the value."""
    producers = {name: step for step in analysis.steps for name in step.outputs}
    found: defaultdict[str, dict[tuple[int, int], Use]] = defaultdict(dict)
    for step, needed in zip(analysis.steps, analysis.needed, strict=True):
        for needing in _uses_needed(analysis, step) if needed else ():
            use = _single_axis(needing, producers)
            if use is None or use.step.node.domain == BODIES or use.name not in producers:
                continue
            if share_of_constants(analysis.maps[use.name], shapes.get(use.name)) > 0:
                key = (id(use.step), use.input)  # several nodes may read what this one reshapes
                before = found[use.name].get(key, use)
                found[use.name][key] = replace(use, whole=before.whole or use.whole)
    return {name: tuple(uses.values()) for name, uses in found.items()}


def _uses_needed(analysis: Analysis, step: Step) -> Iterable[Use]:
    """The inputs of which a node reads constant channels, or makes something else than constants."""
    for index, found in enumerate(step.maps):
        if found is None or not found.axes:
            continue
        constant = is_constant(found.state) & analysis.live[found.labels]
        if not constant.any():
            continue
        read = (
            item.sources[demanded_positions(item, analysis.live)] for item in step.flow.reads if item.input == index
        )
        whole = any(np.isin(found.labels[constant], classes).any() for classes in read)
        alike = (out for out in step.flow.outputs if out is not None and out.shape == found.shape)
        if whole or any((constant & ~is_constant(out.state)).any() for out in alike):
            yield Use(step, index, whole)


def _single_axis(needing: Use, producers: Mapping[str, Step]) -> Use | None:
    """The use itself, or one further up where channels lie along one axis, before they were reshaped or repeated; None
    where there is none."""
    use: Use | None = needing
    best, size = None, math.inf
    while use is not None:
        found = use.found
        if found is not None and len(found.axes) == 1 and found.merged is None and found.labels.size < size:
            best, size = use, found.labels.size
        elif best is not None:
            break
        use = _above(use, producers)
    return best


def _above(use: Use, producers: Mapping[str, Step]) -> Use | None:
    """The use by the node that makes the value, if that reads one value alone, and nothing of it as a whole."""
    maker = producers.get(use.name)
    given = [] if maker is None else [number for number, known in enumerate(maker.maps) if known is not None]
    if maker is None or len(given) != 1 or maker.flow.reads or maker.flow.role is Role.BARRIER:
        return None
    return Use(maker, given[0], use.whole)


def weight_bytes(analysis: Analysis) -> dict[int, float]:
    """The bytes of the weights that make each class."""
    found: defaultdict[int, float] = defaultdict(float)
    for step in analysis.steps:
        out = step.flow.outputs[0] if step.flow.creates and step.flow.outputs else None
        if out is None or not out.labels.size:
            continue
        size = sum(_bytes(step, index) for index in range(len(step.op.present)) if step.op.is_constant(index))
        for label in out.labels.ravel():
            found[int(label)] += size / out.labels.size
    return found


def _bytes(step: Step, index: int) -> int:
    dims = [size for size in step.op.in_dims[index] or (0,) if isinstance(size, int)]
    return math.prod(dims) * step.op.dtype(index).itemsize
