"""Quantised models as models of floating-point weights, and zeros brought back from there.

Masks are chosen on the view, where scores see dequantised weights. A zero of the view is the zero point in the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from upscale_onnx.masks.expert_view import ExpertWeight, experts_view
from upscale_onnx.masks.few_bits import FewBits
from upscale_onnx.masks.targets import constant_tensors, used_names
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


@dataclass(frozen=True)
class _Stored:
    """How the numbers of a weight are stored.

    point: the name of the zero point. axis: that along which there are several.
    """

    point: str
    axis: int


Stored: TypeAlias = _Stored | FewBits | ExpertWeight


@dataclass(frozen=True, eq=False)
class FloatView:
    """original, model: the quantised model and its view. weights: by name of a weight of the view, how the original
    stores it. names: the first outputs of nodes of the original, by those of the nodes of the view that they became."""

    original: onnx.ModelProto
    model: onnx.ModelProto
    weights: Mapping[str, Stored]
    names: Mapping[str, str]

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

    def written(self, masked: onnx.ModelProto) -> onnx.ModelProto:
        """A copy of the original with the weights zeroed that are zero in `masked`, a masked copy of the view."""
        result = onnx.ModelProto()
        result.CopyFrom(self.original)
        theirs, dense, ours = constant_tensors(masked), constant_tensors(self.model), constant_tensors(result)
        for name, tensor in theirs.items():
            if name not in self.weights and name in ours and name in dense and tensor != dense[name]:
                ours[name].CopyFrom(tensor)
        for name, stored in self.weights.items():
            if isinstance(stored, ExpertWeight):
                for part, array in stored.content(numpy_helper.to_array(theirs[name]) == 0).items():
                    _replace(ours[part], array)
                continue
            before, after = numpy_helper.to_array(dense[name]), numpy_helper.to_array(theirs[name])
            gone = (after == 0) & (before != 0)
            if gone.any() and isinstance(stored, FewBits):
                _replace(ours[name], stored.content(after == 0))
            elif gone.any() and isinstance(stored, _Stored):
                _write(ours[name], ours.get(stored.point), stored.axis, gone)
        return result


def float_view(
    model: onnx.ModelProto, known: Mapping[str, Stored] | None = None, experts: bool = True
) -> FloatView | None:
    """The view of `model`; None where nothing of it is viewed. known: the weights of the view of a model that
    `model` is a pruned copy of. experts: whether experts within a node are viewed, as they are from opset 13."""
    earlier = (known or {}) if experts and default_opset(model) >= _EXPERTS_SINCE else None
    uses, given = Counter(used_names(model.graph)), {value.name for value in model.graph.input}
    tensors = {t.name: t for graph in flat_graphs(model) for t in graph.initializer if t.name not in given}
    view = onnx.ModelProto()
    view.CopyFrom(model)
    weights: dict[str, Stored] = {}
    made: dict[str, Array] = {}
    # What a graph holds is read by its own nodes and those of bodies in it. These come first.
    for graph in reversed(flat_graphs(view)):
        count = len(weights)
        nodes = [
            new for node in graph.node for new in list(_viewed(node, tensors, uses, made, weights, earlier)) or [node]
        ]
        kept = [tensor for tensor in graph.initializer if tensor.name not in made]
        if len(weights) > count or len(kept) < len(graph.initializer):
            viewed = GraphProto(node=nodes, initializer=kept)
            del graph.node[:], graph.initializer[:]
            graph.MergeFrom(viewed)
    if not weights:
        return None
    view.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in made.items())
    names = {f"{node.output[0]}{_BEHIND}": node.output[0] for node in all_nodes(model) if node.output}
    return FloatView(model, view, weights, names)


def _viewed(
    node: NodeProto, tensors: Mapping[str, TensorProto], uses: Mapping[str, int], made: dict[str, Array],
    weights: dict[str, Stored], known: Mapping[str, Stored] | None,
) -> Iterator[NodeProto]:  # fmt: skip
    """Nodes of the view in place of `node`, if there are others. Weights of the view, under the names of those that
    store them, are added to `made`. A tensor that several nodes read stays as it is. known: weights of an earlier view;
    None where experts stay as they are."""
    inputs = [*node.input, *[""] * (9 - len(node.input))]
    attrs = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "DequantizeLinear" and node.domain in (*STANDARD_DOMAINS, RUNTIME_DOMAIN):
        array = None if attrs.get("block_size") else _dequantised(inputs[:3], tensors, attrs)
        if array is not None and array.ndim and uses[inputs[0]] == 1:
            made[inputs[0]], weights[inputs[0]] = array, _Stored(inputs[2], attrs.get("axis", 1))
            yield helper.make_node("Identity", inputs[:1], node.output)
        return
    if node.op_type == "MatMulNBits" and node.domain == RUNTIME_DOMAIN:
        few = None if len(node.input) < 3 or uses[inputs[1]] > 1 or inputs[4] else FewBits.of(node, tensors)
        if few is not None:
            made[inputs[1]], weights[inputs[1]] = few.values.astype(few.scale.dtype), few
            product = f"{node.output[0]}{_BEHIND}" if inputs[5] else node.output[0]
            yield helper.make_node("MatMul", inputs[:2], [product], node.name)
            yield from [helper.make_node("Add", [product, inputs[5]], node.output)] if inputs[5] else []
        return
    if node.op_type in EXPERTS and node.domain == RUNTIME_DOMAIN:
        experts = None if known is None else experts_view(node, tensors, uses, known)
        if experts is not None:
            made.update(experts.constants)
            made.update((name, weight.values) for name, weight in experts.weights.items())
            weights.update(experts.weights)
            yield from experts.nodes
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
    made[read[0]], weights[read[0]] = array, _Stored(inputs[weight + 2], axis)
    if added is not None:
        made[read[1]], weights[read[1]] = added, _Stored("", 0)
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


def _write(tensor: TensorProto, point: TensorProto | None, axis: int, gone: Array) -> None:
    """Write zero points where `gone` says so."""
    values = np.array(numpy_helper.to_array(tensor))
    zero = np.zeros(1, values.dtype) if point is None else numpy_helper.to_array(point).reshape(-1)
    if zero.size > 1:
        zero = zero.reshape([-1 if at == axis % values.ndim else 1 for at in range(values.ndim)])
    values[gone] = np.broadcast_to(zero, values.shape)[gone]
    _replace(tensor, values)


def _replace(tensor: TensorProto, values: Array) -> None:
    made = numpy_helper.from_array(values, tensor.name)
    made.doc_string = tensor.doc_string
    tensor.CopyFrom(made)
