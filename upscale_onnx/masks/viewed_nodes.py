"""Nodes of weights that masks know in place of one node of quantised weights, of experts, or of an equation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from upscale_onnx.masks.equation_view import equation_view
from upscale_onnx.masks.expert_view import ExpertsView
from upscale_onnx.masks.expert_weight import ExpertWeight
from upscale_onnx.masks.few_bits import FewBits
from upscale_onnx.masks.stored_weights import StoredBlocks, StoredSlices, StoredWeight
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.quantiser import computed
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array

# Operators of quantised values: the floating-point operator, and which inputs are the weight, the result's scale, and
# the bias. Two inputs behind a value are its scale and zero point. The activation is input 0.
_OPERATORS = {
    ("", "QLinearConv"): ("Conv", 3, 6, 8),
    ("", "QLinearMatMul"): ("MatMul", 3, 6, -1),
    (RUNTIME_DOMAIN, "QGemm"): ("Gemm", 3, 7, 6),
}
# Operators of quantised values without weights: the floating-point operator, and how many values it reads.
_WEIGHTLESS = {
    "QLinearAdd": ("Add", 2),
    "QLinearMul": ("Mul", 2),
    "QLinearSigmoid": ("Sigmoid", 1),
    "QLinearLeakyRelu": ("LeakyRelu", 1),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", 1),
}
EXPERTS = ("MoE", "QMoE")
# What a node makes in the view has this behind its name, until it is quantised.
BEHIND = "__after"

Stored: TypeAlias = StoredWeight | ExpertWeight


def viewed_nodes(
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
            product = f"{node.output[0]}{BEHIND}" if inputs[5] else node.output[0]
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
    equation = equation_view(node, tensors, uses)
    if equation is not None:
        made.update({**equation.constants, equation.stored.name: equation.weight})
        weights[equation.stored.name] = equation.stored
        yield from equation.nodes
        return
    plain = _WEIGHTLESS.get(node.op_type) if node.domain == RUNTIME_DOMAIN else None
    if plain is not None and not attrs.get("channels_last"):
        op_type, count = plain
        terms = [f"{node.output[0]}__term{place}" for place in range(count)]
        for place, term in enumerate(terms):
            yield helper.make_node("DequantizeLinear", inputs[3 * place : 3 * place + 3], [term])
        inner = helper.make_node(op_type, terms, [f"{node.output[0]}{BEHIND}"], node.name)
        inner.attribute.extend(a for a in node.attribute if a.name != "channels_last")
        yield inner
        yield helper.make_node("QuantizeLinear", [*inner.output, *inputs[3 * count : 3 * count + 2]], node.output)
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
    before, after = f"{node.output[0]}__before", f"{node.output[0]}{BEHIND}"
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
