"""Costs from a profile: the measured time of every contraction of this model on this machine.

A profile of the input gives the time of each node at its own channel counts; the base costs only say how
that scales. A profile of the model with a selection in front of every consumer gives the time per byte of
selections and of the layout changes around them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from upscale_onnx.channels.op import Op
from upscale_onnx.costs.costs import FLOAT_BYTES, Costs, itemsize, own_counts
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.operators import CONTRACTIONS, ELEMENTWISE, SELECTIONS
from upscale_onnx.model.sizes import elements_of, size_of
from upscale_onnx.types import Dims

# Operators that onnxruntime may fuse into the convolution in front; the fused node is named after the last output.
_FUSED = ELEMENTWISE | {"BatchNormalization"}
_LONGEST_FUSION = 5
_BLOCKED = "_nchwc"
_ACTIVATED = "fused "
_BIASED = "/MatMulAddFusion"


@dataclass(frozen=True)
class NodeTime:
    """The time of one node of the optimised graph: operator, name, milliseconds."""

    op_type: str
    node: str
    ms: float


@dataclass(frozen=True)
class ProfiledCosts:
    """Base costs scaled to measured times.

    contraction_times: by node name, milliseconds at the node's own channel counts. selection_ms_per_byte
    and selection_launch_ms: None where not measured.
    """

    base: Costs
    contraction_times: Mapping[str, float]
    selection_ms_per_byte: float | None = None
    selection_launch_ms: float = 0.004

    @property
    def align(self) -> int:
        """The block of the base costs."""
        return self.base.align

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        """The measured time, scaled in proportion to the base costs; the base cost where the node was not measured."""
        predicted = self.base.contraction_ms(op, channels_in, channels_out)
        measured = self.contraction_times.get(op.name)
        if measured is None:
            return predicted
        own = own_counts(op)
        reference = 0.0 if own is None else self.base.contraction_ms(op, *own)
        return measured * predicted / reference if reference > 0 else predicted

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool, itemsize: int = FLOAT_BYTES) -> float:
        """The picked bytes times the measured time per byte; the base costs' estimate where that was not measured."""
        base = self.base.selection_ms(dims, axis, picked, contiguous, itemsize)
        if self.selection_ms_per_byte is None or base == 0.0:
            return base
        moved = float(itemsize) * picked * elements_of(dims) / size_of(dims[axis])
        return self.selection_launch_ms + self.selection_ms_per_byte * moved

    def join_ms(self, dims: Dims, axis: int, joined: int, itemsize: int = FLOAT_BYTES) -> float:
        """The estimate of the base costs."""
        return self.base.join_ms(dims, axis, joined, itemsize)


def contraction_times(model: onnx.ModelProto, profile: Sequence[NodeTime]) -> dict[str, float]:
    """Milliseconds by name of the model's contractions, as far as they can be identified in the profile.

    onnxruntime names a node in the blocked layout after the value it computes, which is that of the last
    operator fused into it.
    """
    times = {entry.node: entry.ms for entry in profile}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: dict[str, float] = {}
    taken: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in CONTRACTIONS:
            continue
        key = next((key for key in _names(node, readers) if key in times and key not in taken), None)
        if key is not None:
            taken.add(key)
            found[node.name or node.output[0]] = times[key]
    return found


def _names(node: onnx.NodeProto, readers: Mapping[str, list[onnx.NodeProto]]) -> list[str]:
    """Names that the runtime may give a contraction, the most likely first."""
    names = [node.output[0] + _BLOCKED]
    current = node
    for _ in range(_LONGEST_FUSION):
        behind = readers.get(current.output[0], [])
        if len(behind) != 1 or behind[0].op_type not in _FUSED:
            break
        current = behind[0]
        names.append(current.output[0] + _BLOCKED)
    if node.name:
        names.append(node.name)
        # Outside the blocked layout, an Add is fused into the MatMul in front, and an activation into the Gemm.
        merged = f"{node.name}{_BIASED}"
        names += [f"{_ACTIVATED}{node.name}", merged, f"{_ACTIVATED}{merged}"]
    return names


def selection_price(
    narrowed: onnx.ModelProto, profile: Sequence[NodeTime], original: Sequence[NodeTime]
) -> float | None:
    """Milliseconds per byte of the selections in `narrowed`, with the layout changes that they cause.

    None where `narrowed` makes too few selections for an estimate.
    """
    shapes = infer_shapes(narrowed)
    chosen = {node.name: node for node in narrowed.graph.node if node.op_type in SELECTIONS}
    moved = spent = 0.0
    for entry in profile:
        node = chosen.get(entry.node)
        if node is not None and node.output[0] in shapes:
            moved += itemsize(shapes[node.output[0]].dtype) * elements_of(shapes[node.output[0]].dims)
            spent += entry.ms
    layouts = _layout_ms(profile) - _layout_ms(original)
    if moved < 1e5:
        return None
    return (spent + max(layouts, 0.5 * spent)) / moved


def _layout_ms(profile: Sequence[NodeTime]) -> float:
    return sum(entry.ms for entry in profile if entry.op_type.startswith("Reorder"))
