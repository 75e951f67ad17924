"""What consumers demand of a value."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.demand import demand, demanded_positions
from upscale_onnx.channels.flow import Read
from upscale_onnx.plan.emitted import emitted_classes
from upscale_onnx.types import BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class Demand:
    """What one consumer reads of one value.

    step: index of the consumer in the analysis. input, axis: which input it reads, along which axis. positions:
    demanded indices along the axis, ascending, at least one. present: the indices that the value emits when no
    selection is made.
    """

    step: int
    input: int
    axis: int
    positions: IntArray
    present: IntArray

    @property
    def partial(self) -> bool:
        """Whether the value emits more than is demanded."""
        return self.positions.size < self.present.size


def demands(analysis: Analysis) -> tuple[Demand, ...]:
    """The demand of every needed consumer that a selection could be put in front of."""
    found = []
    analysis = _with_fragile(analysis)
    # Dead channels that keep a grid rectangular are emitted, so they are present too.
    kept = emitted_classes(analysis).kept
    for number, (step, needed) in enumerate(zip(analysis.steps, analysis.needed, strict=True)):
        read = step.flow.selected
        if needed and read is not None and read.axis is not None and _alone(step.maps[read.input], read.axis):
            found.append(_demand(analysis, kept, number, read, read.axis))
    return tuple(found)


def _alone(found: ChannelMap | None, axis: int) -> bool:
    """Whether channels differ along no other axis, such as the width of a picture that a Conv reads."""
    return found is not None and found.axes in ((), (axis,))


def _with_fragile(analysis: Analysis) -> Analysis:
    """The analysis in which classes that an operator may turn into NaN or infinity are all demanded.

    A selection takes away the channels from which a dead channel is computed. The dead channel would then pass as
    zeros through that operator before it is removed."""
    fragile = np.zeros(analysis.live.size, bool)
    for step in analysis.steps:
        for labels in step.flow.fragile:
            fragile[labels] = True
    if not (fragile & ~analysis.live).any():
        return analysis
    live, kept, needed = demand(analysis.steps, analysis.live | fragile, analysis.kept, analysis.outputs)
    return replace(analysis, live=live, kept=kept, needed=tuple(needed))


def _demand(analysis: Analysis, kept: BoolArray, number: int, read: Read, axis: int) -> Demand:
    positions = demanded_positions(read, analysis.live)
    present = np.flatnonzero(kept[read.sources])
    if positions.size == 0:
        positions = present[:1]
    return Demand(number, read.input, axis, positions, present)


def partial_demands(analysis: Analysis) -> tuple[Demand, ...]:
    """The demands of consumers that read only some of the channels that their value emits."""
    return tuple(item for item in demands(analysis) if item.partial)


def fill_block(positions: IntArray, present: IntArray, align: int) -> IntArray:
    """`positions` grown to a multiple of `align` by other indices that are present, ascending."""
    missing = min(-positions.size % align, present.size - positions.size)
    if missing <= 0:
        return positions
    spare = np.setdiff1d(present, positions)[:missing]
    return np.sort(np.concatenate([positions, spare]))
