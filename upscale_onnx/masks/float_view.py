"""Quantised models, and experts within a node, as layers of floating-point weights, and zeros brought back from there.

Masks are chosen on the view, where scores see dequantised weights. A zero of the view is the zero point in the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from upscale_onnx.masks.expert_view import ExpertsView, ExpertWeight, experts_view
from upscale_onnx.masks.few_bits import FewBits
from upscale_onnx.masks.stored_weights import StoredBlocks, StoredSlices, StoredWeight
from upscale_onnx.masks.targets import constant_tensors, mask_targets, used_names
from upscale_onnx.model.bodies import all_nodes, flat_graphs
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.quantiser import computed
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN, default_opset
from upscale_onnx.options import Side
from upscale_onnx.types import Array

# Operators of quantised values: the floating-point operator, and which inputs are the weight, the result's scale, and
# the bias. Two inputs behind a value are its scale and zero point. The activation is input 0.
_OPERATORS = {
    ("", "QLinearConv"): ("Conv", 3, 6, 8),
    ("", "QLinearMatMul"): ("MatMul", 3, 6, -1),
    (RUNTIME_DOMAIN, "QGemm"): ("Gemm", 3, 7, 6),
}
EXPERTS = ("MoE", "QMoE")
_EXPERTS_SINCE = 13  # Split, Unsqueeze and ReduceSum of their view have axes as inputs.
# What a node makes in the view has this behind its name, until it is quantised.
_BEHIND = "__after"


Stored: TypeAlias = StoredWeight | ExpertWeight


@dataclass(frozen=True, eq=False)
class FloatView:
    """original, model: the quantised model and its view. weights: by name of a weight or bias of the view, how the
    original stores it. weight_of: by bias, the weight of its layer. names: the first outputs of nodes of the original,
    by those of the nodes of the view that they became."""

    original: onnx.ModelProto
    model: onnx.ModelProto
    weights: Mapping[str, Stored]
    weight_of: Mapping[str, str]
    names: Mapping[str, str]

    @property
    def stores_single_zeros(self) -> bool:
        """Whether any channels may be zero, not only those of whole blocks."""
        return not any(isinstance(stored, StoredBlocks) for stored in self.weights.values())

    def layer(self, weight: str, product: str, side: Side) -> str:
        """The first output of the node of the original that has the channels of `side` of a weight, by what a node of
        the view makes with the weight; "" where these are channels within a node."""
        stored = self.weights.get(weight)
        if isinstance(stored, ExpertWeight):
            return str(stored.node.output[0]) if side == stored.outer else ""
        return self.names.get(product, product)

    def read(self, pruned: onnx.ModelProto) -> onnx.ModelProto:
        """The view of a pruned copy of the original."""
        found = float_view(pruned, self.weights)
        return self.model if found is None else found.model

    def rounded(self, weight: str, values: Array) -> Array:
        """The numbers that the original can hold in place of `values` of a weight of the view."""
        stored = self.weights.get(weight)
        if stored is None or isinstance(stored, ExpertWeight):
            return values
        return stored.rounded(constant_tensors(self.original), values)

    def written(self, changed: onnx.ModelProto, exactly: bool = False) -> onnx.ModelProto:
        """A copy of the original with the values of `changed`, a masked or repaired copy of the view.

        Zeros are zero points: `exactly` where they are, or as far as the weight can shrink. A weight with other new values is rounded, with larger scales where it needs them; its
        bias is stored anew, as its scale is a multiple of these.
        """
        result = onnx.ModelProto()
        result.CopyFrom(self.original)
        theirs, dense, ours = constant_tensors(changed), constant_tensors(self.model), constant_tensors(result)
        for name, tensor in theirs.items():
            if name not in self.weights and name in ours and name in dense and tensor != dense[name]:
                ours[name].CopyFrom(tensor)
        growth: dict[str, Array] = {}
        for name in sorted(self.weights, key=lambda each: each in self.weight_of):  # biases behind their weights
            stored, grown = self.weights[name], growth.get(self.weight_of.get(name, ""), np.ones(0))
            if isinstance(stored, ExpertWeight):
                stored.write_zeros(ours, numpy_helper.to_array(theirs[name]) == 0, exactly)
                continue
            before, after = numpy_helper.to_array(dense[name]), numpy_helper.to_array(theirs[name])
            anew = bool(((after != before) & (after != 0) & np.isfinite(after)).any())
            if isinstance(stored, StoredSlices) and (grown != 1).any():
                stored.enlarge(ours, grown)
                anew = True
            if anew:
                growth[name] = stored.write(ours, after)
            elif (after != before).any():
                stored.write_zeros(ours, after == 0, exactly)
        return result


def float_view(
    model: onnx.ModelProto, known: Mapping[str, Stored] | None = None, experts: bool = True
) -> FloatView | None:
    """The view of `model`; None where nothing of it is viewed. known: the weights of the view of a model that
    `model` is a pruned copy of. experts: whether experts within a node are viewed, as they are from opset 13."""
    experts &= default_opset(model) >= _EXPERTS_SINCE
    uses, given = Counter(used_names(model.graph)), {value.name for value in model.graph.input}
    tensors = {t.name: t for graph in flat_graphs(model) for t in graph.initializer if t.name not in given}
    view = onnx.ModelProto()
    view.CopyFrom(model)
    weights: dict[str, Stored] = {}
    made: dict[str, Array] = {}

    def of_experts(node: NodeProto) -> ExpertsView | None:
        return experts_view(node, tensors, uses, known) if experts else None

    # What a graph holds is read by its own nodes and those of bodies in it. These come first.
    for graph in reversed(flat_graphs(view)):
        count = len(weights)
        nodes = [
            new
            for node in graph.node
            for new in list(_viewed(node, tensors, uses, made, weights, of_experts)) or [node]
        ]
        kept = [tensor for tensor in graph.initializer if tensor.name not in made]
        if len(weights) > count or len(kept) < len(graph.initializer):
            viewed = GraphProto(node=_early(nodes), initializer=kept)
            del graph.node[:], graph.initializer[:]
            graph.MergeFrom(viewed)
    if not weights:
        return None
    view.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in made.items())
    names = {f"{node.output[0]}{_BEHIND}": node.output[0] for node in all_nodes(model) if node.output}
    weight_of = {target.bias: target.weight for target in mask_targets(view) if target.bias is not None}
    for bias, weight in weight_of.items():
        stored, other = weights.get(weight), weights.get(bias)
        if isinstance(stored, StoredSlices) and isinstance(other, StoredSlices) and not other.follows:
            weights[weight] = replace(stored, is_free=False)
    return FloatView(model, view, weights, weight_of, names)


def viewed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The view of `model`, or `model` itself where nothing of it is viewed."""
    found = float_view(model)
    return model if found is None else found.model


def _early(nodes: list[NodeProto]) -> list[NodeProto]:
    """`nodes` with each DequantizeLinear right behind what it reads, before layers whose results are added to it."""
    made = {name: place for place, node in enumerate(nodes) for name in node.output}
    places = [
        max(made.get(name, -1) for name in node.input) if node.op_type == "DequantizeLinear" else place
        for place, node in enumerate(nodes)
    ]
    return [nodes[place] for place in sorted(range(len(nodes)), key=lambda place: (places[place], place))]


def _viewed(
    node: NodeProto, tensors: Mapping[str, TensorProto], uses: Mapping[str, int], made: dict[str, Array],
    weights: dict[str, Stored], of_experts: Callable[[NodeProto], ExpertsView | None],
) -> Iterator[NodeProto]:  # fmt: skip
    """Nodes of the view in place of `node`, if there are others. Weights of the view, under the names of those that
    store them, are added to `made`. A tensor that several nodes read stays as it is. of_experts: what there
    is in place of a mixture of experts."""
    inputs = [*node.input, *[""] * (9 - len(node.input))]
    attrs = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "DequantizeLinear" and node.domain in (*STANDARD_DOMAINS, RUNTIME_DOMAIN):
        array = None if attrs.get("block_size") else _dequantised(inputs[:3], tensors, attrs)
        if array is not None and array.ndim and uses[inputs[0]] == 1:
            axis, is_free = attrs.get("axis", 1), uses[inputs[1]] == 1
            made[inputs[0]] = array
            weights[inputs[0]] = StoredSlices(inputs[0], (inputs[1],), inputs[2], axis, is_free)
            yield helper.make_node("Identity", inputs[:1], node.output)
        return
    if node.op_type == "MatMulNBits" and node.domain == RUNTIME_DOMAIN:
        few = None if len(node.input) < 3 or uses[inputs[1]] > 1 or inputs[4] else FewBits.of(node, tensors)
        if few is not None:
            made[inputs[1]] = few.values.astype(few.scale.dtype)
            weights[inputs[1]] = StoredBlocks(inputs[1], inputs[2], few, uses[inputs[2]] == 1)
            product = f"{node.output[0]}{_BEHIND}" if inputs[5] else node.output[0]
            yield helper.make_node("MatMul", inputs[:2], [product], node.name)
            yield from [helper.make_node("Add", [product, inputs[5]], node.output)] if inputs[5] else []
        return
    if node.op_type in EXPERTS and node.domain == RUNTIME_DOMAIN:
        experts = of_experts(node)
        if experts is not None:
            made.update(experts.constants)
            made.update((name, weight.values) for name, weight in experts.weights.items())
            weights.update(experts.weights)
            yield from experts.nodes
        return
    if (node.domain, node.op_type) == (RUNTIME_DOMAIN, "QLinearAdd"):
        terms = [f"{node.output[0]}__{place}" for place in ("first", "second")]
        yield helper.make_node("DequantizeLinear", inputs[:3], terms[:1])
        yield helper.make_node("DequantizeLinear", inputs[3:6], terms[1:])
        yield helper.make_node("Add", terms, [f"{node.output[0]}{_BEHIND}"], node.name)
        yield helper.make_node("QuantizeLinear", [f"{node.output[0]}{_BEHIND}", *inputs[6:8]], node.output)
        return
    operator = _OPERATORS.get(("" if node.domain in STANDARD_DOMAINS else node.domain, node.op_type))
    if operator is None:
        return
    op_type, weight, result, bias = operator
    axis = 1 if op_type == "MatMul" or (op_type == "Gemm" and not attrs.get("transB")) else 0
    array = _dequantised(inputs[weight : weight + 3], tensors, {"axis": axis})
    read, added = [inputs[weight]], _bias(inputs, weight, bias, tensors)
    if bias >= 0 and inputs[bias]:
        read.append(inputs[bias])
    if array is None or (len(read) > 1 and added is None) or not inputs[result] or any(uses[name] > 1 for name in read):
        return
    scale, point = inputs[weight + 1 : weight + 3]
    made[read[0]], weights[read[0]] = array, StoredSlices(read[0], (scale,), point, axis, uses[scale] == 1)
    if added is not None:
        made[read[1]], weights[read[1]] = added, StoredSlices(read[1], (inputs[1], scale), "", 0, False)
    before, after = f"{node.output[0]}__before", f"{node.output[0]}{_BEHIND}"
    yield helper.make_node("DequantizeLinear", inputs[:3], [before])
    inner = helper.make_node(op_type, [before, *read], [after], node.name)
    inner.attribute.extend(node.attribute)
    yield inner
    yield helper.make_node("QuantizeLinear", [after, *inputs[result : result + 2]], node.output)


def _dequantised(names: list[str], tensors: Mapping[str, TensorProto], attrs: dict[str, int]) -> Array | None:
    """The floating-point numbers of a tensor with a scale and a zero point; None where one is not constant."""
    if any(name and name not in tensors for name in names) or not names[0] or not names[1]:
        return None
    arrays = [numpy_helper.to_array(tensors[name]) if name else None for name in names]
    return computed("DequantizeLinear", attrs, arrays)


def _bias(inputs: list[str], weight: int, bias: int, tensors: Mapping[str, TensorProto]) -> Array | None:
    """The floating-point numbers of a bias, whose scale is that of the products."""
    names = [inputs[bias] if bias >= 0 else "", inputs[1], inputs[weight + 1]]
    if any(name not in tensors for name in names):
        return None
    integers, left, right = (numpy_helper.to_array(tensors[name]) for name in names)
    made: Array = (integers * left.ravel() * right.ravel()).astype(np.float32)
    return made if made.shape == integers.shape else None
