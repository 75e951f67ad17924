"""Costs that go by a profile: what every contraction of this model took on this machine.

A profile of the input says how long each node ran at its own channel counts; the base costs only have to
say how that scales. A profile of the model with a selection in front of every consumer says what
selections and the layout changes around them take per byte.
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

# What onnxruntime may fuse into the convolution in front of it; the fused node bears the last output's name.
_FUSED = ELEMENTWISE | {"BatchNormalization"}
_LONGEST_FUSION = 5
_BLOCKED = "_nchwc"
_ACTIVATED = "fused "
_BIASED = "/MatMulAddFusion"


@dataclass(frozen=True)
class NodeTime:
    """What one node of the optimised graph took: operator, name, milliseconds."""

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
        """The base's block."""
        return self.base.align

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        """The measured time, scaled as the base scales; the base's own where the node was not seen."""
        predicted = self.base.contraction_ms(op, channels_in, channels_out)
        measured = self.contraction_times.get(op.name)
        if measured is None:
            return predicted
        own = own_counts(op)
        reference = 0.0 if own is None else self.base.contraction_ms(op, *own)
        return measured * predicted / reference if reference > 0 else predicted

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool, itemsize: int = FLOAT_BYTES) -> float:
        """Bytes picked by their measured price; the base's estimate where it was not measured."""
        base = self.base.selection_ms(dims, axis, picked, contiguous, itemsize)
        if self.selection_ms_per_byte is None or base == 0.0:
            return base
        moved = float(itemsize) * picked * elements_of(dims) / size_of(dims[axis])
        return self.selection_launch_ms + self.selection_ms_per_byte * moved

    def join_ms(self, dims: Dims, axis: int, joined: int, itemsize: int = FLOAT_BYTES) -> float:
        """The base's estimate."""
        return self.base.join_ms(dims, axis, joined, itemsize)


def contraction_times(model: onnx.ModelProto, profile: Sequence[NodeTime]) -> dict[str, float]:
    """Milliseconds by name of the model's contractions, as far as the profile's nodes can be told apart.

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
    """Names that the runtime may give to a contraction, the likeliest first."""
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
        # Outside the blocked layout a MatMul takes up the Add behind it, and a Gemm its activation.
        merged = f"{node.name}{_BIASED}"
        names += [f"{_ACTIVATED}{node.name}", merged, f"{_ACTIVATED}{merged}"]
    return names


def selection_price(
    narrowed: onnx.ModelProto, profile: Sequence[NodeTime], original: Sequence[NodeTime]
) -> float | None:
    """Milliseconds per byte of the selections in `narrowed`, with the layout changes they brought about.

    None where it makes too few selections to tell.
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
