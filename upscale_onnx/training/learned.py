"""Which constants of a model are learned, which of their entries may change, and what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.masks.mask_model import weight_array
from upscale_onnx.masks.targets import FLOATS, constant_tensors
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.model.bodies import all_nodes
from upscale_onnx.model.contractions import WeightLayout, node_layout
from upscale_onnx.model.operators import CONTRACTIONS, STANDARD_DOMAINS
from upscale_onnx.types import Array, BoolArray, FloatArray

Kind = Literal["weight", "bias", "scale", "shift", "slope", "factor", "term", "table", "mean", "variance"]

_NORMS = ("InstanceNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization")
# Constants behind these are the same constants in another form.
_MOVES = frozenset({"Identity", "Transpose", "Reshape", "Expand", "Unsqueeze", "Squeeze", "Cast", "Flatten"})
_TERMS, _FACTORS = frozenset({"Add", "Sub", "Sum"}), frozenset({"Mul", "Div"})


@dataclass(frozen=True)
class Learned:
    """A constant that training changes.

    kind: what it is; "mean" and "variance" are running statistics, which follow the batches and have no gradient.
    fan_in: of a weight, how many products a sum has. free: the entries that may change; None is all. level: of a bias
    or shift, what its constant channels hold, NaN for others; None if there are none.
    """

    name: str
    kind: Kind
    fan_in: int = 0
    free: BoolArray | None = None
    level: Array | None = None

    @property
    def is_statistic(self) -> bool:
        """Whether it is a running statistic."""
        return self.kind in ("mean", "variance")


def learned_constants(
    model: onnx.ModelProto, *, norms: bool, kept: Mapping[str, BoolArray] | None = None
) -> dict[str, Learned]:
    """The learned constants of `model` by name, in graph order.

    Learned are weights and biases of layers, scales and shifts of norms, slopes of PRelu, tables of Gather, and vectors
    that are added to values, or multiplied with them, behind the first layer. Single numbers are not learned.

    norms: whether BatchNormalization is learned. kept: by name, the entries that may change; by default those of
    weights that are not zero.

    What is constant for any input must stay the same constant, so that a compile removes the channels that it removed
    before: entries that only make such channels do not change.
    """
    tensors = {name: t for name, t in constant_tensors(model).items() if t.data_type in FLOATS and _count(t) > 0}
    nodes = all_nodes(model)
    roots = _roots(nodes, tensors)
    maps = _maps(model)
    found: dict[str, Learned] = {}
    held: dict[str, BoolArray] = {}
    levels: dict[str, Array] = {}
    for node, name, direct, kind, layout in _uses(nodes, roots, tensors, norms):
        array = weight_array(tensors[name])
        found.setdefault(name, Learned(name, kind, _fan_in(array, node, layout) if kind == "weight" else 0))
        if direct:
            state = None if node.op_type == "Concat" or node.output[0] not in maps else maps[node.output[0]].state
            still = _still(array, kind, layout, state) | _of_empty_rows(node, array, kind, layout, tensors, roots)
            held[name] = held.get(name, np.zeros(array.shape, np.bool_)) | still
            if kind in ("bias", "shift") and still.any():
                levels[name] = np.where(still, _level(array, state), np.nan)
    for name, each in found.items():
        array = weight_array(tensors[name])
        stays = held.get(name, np.zeros(array.shape, np.bool_))
        if kept is not None:
            stays = stays | ~kept.get(name, np.ones(array.shape, np.bool_))
        elif each.kind == "weight":
            stays = stays | (array == 0)
        if stays.any():
            found[name] = replace(each, free=~stays, level=levels.get(name))
    return found


_Use = tuple[onnx.NodeProto, str, bool, Kind, WeightLayout | None]


def _uses(
    nodes: Sequence[onnx.NodeProto],
    roots: Mapping[str, str],
    tensors: Mapping[str, onnx.TensorProto],
    norms: bool,
) -> Iterator[_Use]:
    """Each use of a learned constant: the node, the constant, whether the node itself reads it, and what it is there.
    Values behind the first layer are those that a weight has reached."""
    behind: set[str] = set()
    for node in nodes:
        if node.domain not in STANDARD_DOMAINS:
            behind.update(node.output)
            continue
        is_layer = False
        for position, name in enumerate(node.input):
            root = roots.get(name)
            if root is None or all(other in roots for other in node.input if other):
                continue
            kind, layout = _kind(node, position, tensors[root], behind, norms)
            if kind is not None:
                is_layer = is_layer or kind in ("weight", "table")
                yield node, root, root == name, kind, layout
        if is_layer or not behind.isdisjoint(node.input):
            behind.update(node.output)


def _kind(
    node: onnx.NodeProto, position: int, tensor: onnx.TensorProto, behind: set[str], norms: bool
) -> tuple[Kind | None, WeightLayout | None]:
    op, rank = node.op_type, len(tensor.dims)
    if op in CONTRACTIONS:
        layout = node_layout(node, rank, position) if position < 2 else None
        if layout is not None:
            return "weight", layout
        other = node_layout(node, 4 if op.startswith("Conv") else 2)
        return ("bias", other) if other is not None and position == other.bias else (None, None)
    if op == "Einsum":
        return ("weight" if rank > 1 else None), None
    if op == "BatchNormalization":
        kinds: tuple[Kind | None, ...] = (None, "scale", "shift", "mean", "variance")
        return (kinds[position] if norms else None), None
    if op in _NORMS:
        return (("scale" if position == 1 else "shift") if position else None), None
    if op == "PRelu":
        return ("slope" if position == 1 else None), None
    if op == "Gather":
        return ("table" if position == 0 and rank > 1 else None), None
    if _count(tensor) < 2 or behind.isdisjoint(node.input):
        return None, None
    if op == "Concat":
        return ("term" if weight_array(tensor).any() else None), None
    return ("term" if op in _TERMS else "factor" if op in _FACTORS else None), None


def _still(array: Array, kind: Kind, layout: WeightLayout | None, state: FloatArray | None) -> BoolArray:
    """The entries of `array` that reach only channels that are constant. state: of the output, from its channel map."""
    none = np.zeros(array.shape, np.bool_)
    if state is None:
        return none
    constant = np.isfinite(state)
    if kind == "weight":
        if layout is None or constant.size != array.shape[layout.output_axis]:
            return none
        sizes = [1] * array.ndim
        sizes[layout.output_axis] = -1
        return none | constant.reshape(sizes)
    if kind in ("term", "factor", "slope"):
        sizes = [1] * (constant.ndim - array.ndim) + list(array.shape)
        fits = len(sizes) == constant.ndim and all(m in (1, n) for m, n in zip(constant.shape, sizes, strict=True))
        return none | np.broadcast_to(constant, sizes).reshape(array.shape) if fits else none
    return none | constant.ravel() if array.ndim == 1 and constant.size == array.size else none


def _of_empty_rows(
    node: onnx.NodeProto,
    array: Array,
    kind: Kind,
    layout: WeightLayout | None,
    tensors: Mapping[str, onnx.TensorProto],
    roots: Mapping[str, str],
) -> BoolArray:
    """The entries of a bias whose rows of the weight are zeros, also where nothing is known of the channels."""
    none = np.zeros(array.shape, np.bool_)
    weight = roots.get(node.input[layout.operand]) if kind == "bias" and layout is not None and array.ndim else None
    if weight is None or layout is None:
        return none
    rows = np.moveaxis(weight_array(tensors[weight]), layout.output_axis, 0)
    return none | ~rows.reshape(rows.shape[0], -1).any(axis=1) if rows.shape[0] == array.shape[-1] else none


def _level(array: Array, state: FloatArray | None) -> Array:
    """What the channels hold that a bias or a shift is added to, where they are constant; else its own values."""
    if state is None or array.ndim != 1 or state.size != array.size:
        return array
    flat = state.ravel()
    return np.where(np.isfinite(flat), flat, array)


def _fan_in(array: Array, node: onnx.NodeProto, layout: WeightLayout | None) -> int:
    """How many products each sum of the layer has."""
    if layout is None:
        return int(array.shape[0])
    if array.ndim > 2 and node.op_type == "MatMul":  # a stack of matrices
        return int(array.shape[layout.input_axis])
    groups = layout.group if node.op_type == "ConvTranspose" else 1
    return int(array.size // array.shape[layout.output_axis] // groups)


def _maps(model: onnx.ModelProto) -> Mapping[str, ChannelMap]:
    return {
        name: found
        for step in analyse(import_graph(model), infer_shapes(model)).steps
        for name, found in zip(step.outputs, step.flow.outputs, strict=True)
        if found is not None
    }


def _roots(nodes: Sequence[onnx.NodeProto], tensors: Mapping[str, onnx.TensorProto]) -> dict[str, str]:
    roots = {name: name for name in tensors}
    for node in nodes:
        if node.op_type in _MOVES and node.domain in STANDARD_DOMAINS and node.input and node.input[0] in roots:
            roots[node.output[0]] = roots[node.input[0]]
    return roots


def _count(tensor: onnx.TensorProto) -> int:
    return int(np.prod(tensor.dims, dtype=np.int64))
