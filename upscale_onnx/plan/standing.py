"""The channels that an export leaves in place: what its layers still read and create."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

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
        if not used or step.flow.dense is None:
            continue
        name, sources, out = step.outputs[0], step.flow.dense.sources, step.flow.outputs[0]
        there = np.flatnonzero(kept[sources])
        positions = handed.get(name)
        if positions is None:
            reads[name] = there
        elif positions.size == sources.size:
            reads[name] = positions[there]
        if out is not None and len(out.axes) == 1:
            creates[name] = np.flatnonzero(kept[out.labels.ravel()])
    return Standing(reads, creates)
