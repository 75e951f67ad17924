"""The weights that a mask can be written into, and which of their axes are channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import onnx

from upscale_onnx.model.bodies import all_nodes, flat_graphs
from upscale_onnx.model.contractions import WeightLayout, node_layout, swapped
from upscale_onnx.model.operators import CONTRACTIONS, RECURRENT, STANDARD_DOMAINS
from upscale_onnx.model.protos import overridable
from upscale_onnx.options import Side
from upscale_onnx.types import Array

FLOATS = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
)


@dataclass(frozen=True)
class MaskTarget:
    """A weight whose channels can be zeroed.

    weight: name of its initializer, or of the output of its Constant node. node: the first node that uses it,
    by its name or, where it has none, its first output. input_axis, output_axis: the axes of `shape` that run
    over the channels that the node reads and creates; None where no single axis does, as on the input side of
    a grouped Conv, whose weight `turned` gives one. bias: the initializer with one value per output channel along its
    last axis that only this node uses, if there is one.
    """

    weight: str
    node: str
    op_type: str
    shape: tuple[int, ...]
    input_axis: int | None
    output_axis: int | None
    group: int
    bias: str | None

    @property
    def is_depthwise(self) -> bool:
        """Whether each output channel reads a single input channel, so that the node is a carrier."""
        return self.group > 1 and self.shape[1] == 1

    @property
    def is_grouped(self) -> bool:
        """Whether the node is a convolution of several groups, each of several channels."""
        return self.group > 1 and not self.is_depthwise

    @property
    def kind(self) -> tuple[str, tuple[int, ...], str]:
        """What the layer is whatever its width: the operator, the sizes of the weight's axes that are no channels, and
        "depthwise", "grouped" or nothing."""
        # Axis 1 of a grouped convolution holds the channels per group. They are a width too.
        channels = (self.input_axis, self.output_axis, 1 if self.group > 1 else None)
        inner = tuple(size for axis, size in enumerate(self.shape) if axis not in channels)
        return self.op_type, inner, "depthwise" if self.is_depthwise else "grouped" if self.group > 1 else ""

    @property
    def matrices(self) -> int:
        """How many matrices the weight is: one for each index of axis 0 where that is no axis of channels, else 1."""
        return self.shape[0] if self.op_type == "MatMul" and len(self.shape) == 3 else 1

    def axis(self, side: Side) -> int | None:
        """The axis of all channels of `side` in the weight, where this is `turned`."""
        if side == "output":
            return self.output_axis
        return 0 if self.is_grouped else self.input_axis

    def turned(self, weight: Array, side: Side) -> Array:
        """The weight in the form that has one axis of the channels of `side`; from that form, the weight again. The
        inputs of all groups follow one another along the first axis of `(C_in, C_out/group, …)`."""
        return swapped(weight, self.group) if side == "input" and self.is_grouped else weight

    def channels(self, side: Side) -> int:
        """How many channels `side` has, 0 where it has no axis."""
        axis = self.axis(side)
        if axis is None:
            return 0
        return self.shape[1] * self.group if side == "input" and self.is_grouped else self.shape[axis]


def constant_tensors(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The tensors of initializers and of Constant nodes, by value name; not defaults of inputs. Those in bodies of If,
    Loop and Scan count where the bodies are parts of the flat graph."""
    defaults, graphs = overridable(model), flat_graphs(model)
    tensors = {tensor.name: tensor for graph in graphs for tensor in graph.initializer if tensor.name not in defaults}
    for graph in graphs:
        for node in graph.node:
            if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS:
                tensors.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return tensors


def constant_roots(nodes: Iterable[onnx.NodeProto], tensors: Mapping[str, onnx.TensorProto]) -> dict[str, str]:
    """Map every name of a constant, also those behind Identity nodes, to the constant's own name."""
    roots = {name: name for name in tensors}
    for node in nodes:  # in topological order, as ONNX demands
        if node.op_type == "Identity" and node.domain in STANDARD_DOMAINS and node.input[0] in roots:
            roots[node.output[0]] = roots[node.input[0]]
    return roots


def mask_targets(model: onnx.ModelProto) -> tuple[MaskTarget, ...]:
    """The floating-point weights of Conv, ConvTranspose, Gemm, MatMul and recurrent nodes, in node order. A recurrent
    node has two: one reads the channels of its sequence, the other its own hidden units.

    Identity nodes between a weight and its use are followed. A weight that several nodes share is listed
    once, as the first of them reads it: a mask changes the weight itself, so it changes all of its uses.
    Nodes in bodies are looked at where the bodies are parts of the flat graph.
    """
    tensors, nodes = constant_tensors(model), all_nodes(model)
    roots = constant_roots(nodes, tensors)
    uses = Counter(roots.get(name, name) for name in used_names(model.graph))
    targets: dict[str, MaskTarget] = {}
    for node in nodes:
        for target in _recurrent(node, roots, tensors):
            targets.setdefault(target.weight, target)
        layout = _layout(node, roots, tensors)
        if layout is None:
            continue
        weight = roots[node.input[layout.operand]]
        shape = tuple(tensors[weight].dims)
        targets.setdefault(
            weight,
            MaskTarget(
                weight=weight,
                node=node.name or node.output[0],
                op_type=node.op_type,
                shape=shape,
                input_axis=layout.input_axis if layout.group == 1 else None,
                output_axis=layout.output_axis,
                group=layout.group,
                bias=_own_bias(node, layout, shape[layout.output_axis], roots, tensors, uses),
            ),
        )
    return tuple(targets.values())


def inner_targets(model: onnx.ModelProto, targets: Iterable[MaskTarget]) -> tuple[MaskTarget, ...]:
    """Those of the `targets` of `model` that no node of the main graph uses, but nodes in bodies."""
    outer = {node.name or node.output[0] for node in model.graph.node if node.output}
    return tuple(target for target in targets if target.node not in outer)


def weight_uses(model: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    """For each weight of `mask_targets`, the first outputs of all nodes that have it as their weight, in node order."""
    tensors, nodes = constant_tensors(model), all_nodes(model)
    roots = constant_roots(nodes, tensors)
    uses: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        layout = _layout(node, roots, tensors)
        if layout is not None:
            weight = roots[node.input[layout.operand]]
            uses[weight] = (*uses.get(weight, ()), node.output[0])
    return uses


def _recurrent(
    node: onnx.NodeProto, roots: Mapping[str, str], tensors: Mapping[str, onnx.TensorProto]
) -> Iterator[MaskTarget]:
    """The two weights of a recurrent node, of shapes (D, gates·H, I) and (D, gates·H, H), by what they read."""
    if node.op_type not in RECURRENT or node.domain not in STANDARD_DOMAINS:
        return
    for name in node.input[1:3]:
        tensor = tensors.get(roots.get(name, ""))
        if tensor is not None and tensor.data_type in FLOATS and len(tensor.dims) == 3:
            named = node.name or next(iter(node.output))
            yield MaskTarget(roots[name], named, node.op_type, tuple(tensor.dims), 2, None, 1, None)


def _layout(
    node: onnx.NodeProto, roots: Mapping[str, str], tensors: Mapping[str, onnx.TensorProto]
) -> WeightLayout | None:
    if node.op_type not in CONTRACTIONS or node.domain not in STANDARD_DOMAINS or len(node.input) < 2:
        return None
    constant = [name in roots for name in node.input[:2]]
    if all(constant):  # nothing is read: the node is itself a constant
        return None
    for operand in (0, 1):
        if not constant[operand]:
            continue
        tensor = tensors[roots[node.input[operand]]]
        if tensor.data_type in FLOATS and len(tensor.dims) >= 2:
            found = node_layout(node, len(tensor.dims), operand)
            # In a grouped ConvTranspose, one index along axis 1 stands for one output channel of every group.
            return None if found is None or (found.group != 1 and found.output_axis == 1) else found
    return None


def _own_bias(
    node: onnx.NodeProto,
    layout: WeightLayout,
    channels: int,
    roots: Mapping[str, str],
    tensors: Mapping[str, onnx.TensorProto],
    uses: Mapping[str, int],
) -> str | None:
    if layout.bias is None or len(node.input) <= layout.bias:
        return None
    bias = roots.get(node.input[layout.bias])
    if bias is None or uses[bias] != 1:
        return None
    dims = tensors[bias].dims
    return bias if len(dims) and dims[-1] == channels else None


def used_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Names of all values that are graph outputs or are read by nodes other than Identity, subgraphs included."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        if node.op_type != "Identity" or node.domain not in STANDARD_DOMAINS:
            yield from node.input
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                yield from used_names(subgraph)
