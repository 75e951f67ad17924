"""The channels that an export leaves in place: what its layers still read and create."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from upscale_onnx.plan.plan import Plan
from upscale_onnx.types import IntArray


@dataclass(frozen=True, eq=False)
class Standing:
    """By the first output of a layer with weights, the indices of its original channels that are still there.

    reads: of those it reads. creates: of those it creates. Layers are missing that are gone or in pieces.
    """

    reads: Mapping[str, IntArray] = field(default_factory=dict)
    creates: Mapping[str, IntArray] = field(default_factory=dict)


def standing(plan: Plan, handed: Mapping[str, IntArray]) -> Standing:
    """What `plan` leaves. handed: by the first output of a layer in front of which a selection was made that `plan`
    knows, the indices that are selected."""
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
