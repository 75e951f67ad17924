"""The channels that an export leaves in place: what its layers still read and create."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from upscale_onnx.channels.flow import Flow, Read
from upscale_onnx.plan.plan import Plan
from upscale_onnx.types import IntArray


@dataclass(frozen=True, eq=False)
class Standing:
    """The original channels of each layer with weights that are left, as indices by the layer's first output.

    reads: channels that the layer reads. creates: channels that it creates. Layers that are removed or computed in
    pieces are not listed.
    """

    reads: Mapping[str, IntArray] = field(default_factory=dict)
    creates: Mapping[str, IntArray] = field(default_factory=dict)


def standing(plan: Plan, handed: Mapping[str, IntArray]) -> Standing:
    """The channels that `plan` leaves. handed: the indices selected in front of a layer, by the layer's first output,
    where `plan` was made after the selection."""
    kept = plan.emitted.kept
    reads: dict[str, IntArray] = {}
    creates: dict[str, IntArray] = {}
    for step, used in zip(plan.analysis.steps, plan.emitted.needed, strict=True):
        read = _read(step.flow)
        if not used or read is None:
            continue
        name, sources, out = step.outputs[0], read.sources, step.flow.outputs[0]
        there = np.flatnonzero(kept[sources])
        positions = handed.get(name)
        if positions is None:
            reads[name] = there
        elif positions.size == sources.size:
            reads[name] = positions[there]
        if out is not None and len(out.axes) == 1:
            creates[name] = np.flatnonzero(kept[out.labels.ravel()])
    return Standing(reads, creates)


def _read(flow: Flow) -> Read | None:
    """How a layer reads its input; None where parts of its weights read other channels, as in groups. Of a node of
    several layers, the first one counts."""
    if not flow.creates or not flow.reads:
        return None
    first = flow.reads[0]
    alike = flow.inner is not None or all(np.array_equal(read.sources, first.sources) for read in flow.reads)
    return first if alike else None
