"""Stacks: values that a Reshape gives an axis of parts, of which every reader takes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.rules.selection import Selection
from upscale_onnx.channels.step import Step
from upscale_onnx.types import IntArray

_UNKNOWN, _COPIED = -1, 0  # entries of a shape


@dataclass(frozen=True, eq=False)
class Part:
    """What a node takes of a stack. index: which part. made: the value. keeps: whether that has the axis of the parts,
    with size 1."""

    index: int
    made: gs.Variable
    keeps: bool


@dataclass(frozen=True, eq=False)
class Stack:
    """A Reshape that makes an axis of parts, and the nodes that take the parts.

    source, whole: the maps of what is reshaped and of what it becomes. axis: that of the parts. entries: the shape that
    is made, with 0 for sizes that are those of the input and at most one -1. perm: the order of a Transpose behind it,
    None where there is none. nodes: all nodes that make or take parts, the Reshape first.
    """

    source: ChannelMap
    whole: ChannelMap
    axis: int
    entries: tuple[int, ...]
    perm: tuple[int, ...] | None
    parts: tuple[Part, ...]
    nodes: tuple[gs.Node, ...]

    @property
    def labels(self) -> IntArray:
        """The classes of the parts, `(parts, …)`, without axes that have no channels."""
        labels: IntArray = np.moveaxis(self.whole.labels, self.axis, 0)
        return labels.reshape([size for size in labels.shape if size > 1])

    @property
    def count(self) -> int:
        """The number of parts."""
        return self.whole.shape[self.axis]

    @property
    def leads(self) -> bool:
        """Whether each part is a run of the channels of what is reshaped."""
        return self.whole.axes[0] == self.axis


def stacks(analysis: Analysis) -> list[Stack]:
    """The stacks of a graph whose parts can be cut apart."""
    steps = {id(step.node): step for step in analysis.steps}
    return [found for step in analysis.steps if (found := _stack(step, steps, analysis.outputs)) is not None]


def _stack(step: Step, steps: Mapping[int, Step], outputs: frozenset[str]) -> Stack | None:
    if step.op.op_type != "Reshape" or step.barrier:
        return None
    source, whole = step.maps[0], step.flow.outputs[0]
    if source is None or whole is None or len(source.axes) != 1 or len(whole.axes) < 2:
        return None
    if source.merged is not None or whole.merged is not None or source.labels.size != whole.labels.size:
        return None
    value, nodes, perm = step.node.outputs[0], [step.node], None
    behind = steps.get(id(value.outputs[0])) if len(value.outputs) == 1 else None
    if behind is not None and behind.op.op_type == "Transpose" and not behind.barrier and value.name not in outputs:
        perm = tuple(int(axis) for axis in behind.op.attrs.get("perm", reversed(range(whole.rank))))
        value = behind.node.outputs[0]
        nodes.append(behind.node)
    if value.name in outputs:
        return None
    for axis, behind_it in pairwise(whole.axes):
        if axis != whole.axes[0] and behind_it != axis + 1:
            continue
        entries = _entries(step, axis)
        parts = None if entries is None else _parts(value, perm.index(axis) if perm else axis, steps, outputs, nodes)
        if entries is not None and parts:
            return Stack(source, whole, axis, entries, perm, parts, tuple(nodes))
    return None


def _entries(step: Step, axis: int) -> tuple[int, ...] | None:
    """The shape that a Reshape makes. None where more than one of its sizes is not known, or does not come before
    `axis`."""
    dims_in, dims_out = step.op.in_dims[0], step.op.out_dims[0]
    if dims_in is None or dims_out is None:
        return None
    found = []
    for place, size in enumerate(dims_out):
        copied = place < min(axis, len(dims_in)) and size is not None and size == dims_in[place]
        found.append(size if isinstance(size, int) else _COPIED if copied else _UNKNOWN)
    return None if found.count(_UNKNOWN) > 1 or 0 in dims_out else tuple(found)


def _parts(
    value: gs.Variable, axis: int, steps: Mapping[int, Step], outputs: frozenset[str], nodes: list[gs.Node]
) -> tuple[Part, ...] | None:
    """The parts that readers of `value` take along `axis`; None where one of them takes anything else. The nodes that
    take them are added to `nodes`."""
    found: list[Part] = []
    takers: list[gs.Node] = []
    for node in {id(node): node for node in value.outputs}.values():
        step = steps.get(id(node))
        whole = None if step is None else step.maps[0]
        if step is None or whole is None or step.barrier or step.inputs.count(value.name) != 1:
            return None
        takers.append(node)
        picked = step.rule.picks(step.op, whole) if isinstance(step.rule, Selection) else None
        if picked is None or picked.axis != axis or picked.indices is None or not picked.alone:
            return None
        for pick, made in zip(picked.indices, node.outputs, strict=True):
            if pick.size != 1:
                return None
            keeps, squeeze = not picked.dropped, _squeeze(made, axis, steps)
            if keeps and squeeze is not None and made.name not in outputs:
                takers.append(squeeze)
                made, keeps = squeeze.outputs[0], False
            found.append(Part(int(pick[0]), made, keeps))
    nodes += takers
    return tuple(found)


def _squeeze(value: gs.Variable, axis: int, steps: Mapping[int, Step]) -> gs.Node | None:
    """The only reader of a part, if it takes away `axis`, and no other."""
    reader = steps.get(id(value.outputs[0])) if len(value.outputs) == 1 else None
    if reader is None or reader.op.op_type != "Squeeze" or reader.barrier:
        return None
    axes, rank = reader.op.attrs.get("axes", reader.op.constant(1)), reader.op.in_rank(0)
    alone = axes is not None and rank is not None and [int(other) % rank for other in axes] == [axis]
    return reader.node if alone else None
