"""Operators that onnxruntime has and onnx does not, not yet or no longer. Optimised models hold them.

onnx's checker refuses a model with such an operator in the default domain, and its shape inference stops at all of
them.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, NodeProto, TensorProto, helper

from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.protos import iter_nodes
from upscale_onnx.model.runtime_attention import attention_alike, one_of
from upscale_onnx.model.runtime_layouts import CHANNELS_LAST, channels_last, channels_last_alike

# The first version of the operator set in which onnx has the operator too, None if there is none. It has deprecated the
# first form of GroupNormalization, that of 18.
_FIRST_KNOWN = {"SimplifiedLayerNormalization": None, "LayerNormalization": 17, "GroupNormalization": 21}
RUNTIME_DOMAIN = "com.microsoft"
# Fused operators that work on each element by itself; those that add a bias have one along the last axis.
FUSED_ELEMENTWISE = frozenset(("BiasAdd", "BiasGelu", "FastGelu", "Gelu", "QuickGelu"))
# Fused operators whose result has the shape of the first input.
_LIKE_FIRST = FUSED_ELEMENTWISE | {"GroupNorm", "MoE", "QMoE", "SkipGroupNorm"}
_LIKE_FIRST_AND_SUM = frozenset(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"))
_ADDED = ("activation", "activation_params", "activation_alpha", "activation_beta", "activation_gamma")
# Quantised operators: the operator whose result has the shape and the type of theirs, and its inputs.
_QUANTISED = {
    "QLinearAdd": ("Add", slice(0, 6, 3)),
    "QLinearMul": ("Mul", slice(0, 6, 3)),
    "QLinearLeakyRelu": ("Identity", slice(1)),
    "QLinearSigmoid": ("Identity", slice(1)),
    "QLinearSoftmax": ("Identity", slice(1)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", slice(1)),
    "QLinearAveragePool": ("AveragePool", slice(1)),
    "QLinearConcat": ("Concat", slice(2, None, 3)),
    "QGemm": ("Gemm", slice(0, 6, 3)),
    "QLinearConv": ("QLinearConv", slice(None)),
    "QuantizeLinear": ("QuantizeLinear", slice(None)),
    "DequantizeLinear": ("DequantizeLinear", slice(None)),
    "DynamicQuantizeMatMul": ("MatMul", slice(2)),
}
_POINT_OF_GEMM = 8
_SCALES = 2
_OF_FOUR_BITS = (TensorProto.INT4, TensorProto.UINT4)


def only_runtime_knows(node: NodeProto, opset: int) -> bool:
    """Whether `node` is of an operator that onnxruntime runs and onnx does not know at this version."""
    if node.domain not in STANDARD_DOMAINS or node.op_type not in _FIRST_KNOWN:
        return False
    first = _FIRST_KNOWN[node.op_type]
    return first is None or opset < first


def set_apart(model: ModelProto) -> ModelProto:
    """Move these operators of `model` into onnxruntime's own domain, which the checker skips. Return `model`."""
    opset = default_opset(model)
    nodes = [node for node in iter_nodes(model.graph) if only_runtime_knows(node, opset)]
    for node in nodes:
        node.domain = RUNTIME_DOMAIN
    if _lacks_import(model):
        model.opset_import.add(domain=RUNTIME_DOMAIN, version=1)
    return model


def with_import(model: ModelProto) -> ModelProto:
    """A copy of `model` that imports onnxruntime's own operators; `model` itself if it does so already, or has none of
    them. onnxruntime runs a model that does not."""
    if not _lacks_import(model):
        return model
    result = ModelProto()
    result.CopyFrom(model)
    result.opset_import.add(domain=RUNTIME_DOMAIN, version=1)
    return result


def _lacks_import(model: ModelProto) -> bool:
    if any(entry.domain == RUNTIME_DOMAIN for entry in model.opset_import):
        return False
    return any(node.domain == RUNTIME_DOMAIN for node in iter_nodes(model.graph))


def default_opset(model: ModelProto) -> int:
    """The version of the default operator set that `model` imports."""
    return next((entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS), 1)


def shaped_alike(node: NodeProto, dtypes: Mapping[str, int]) -> list[NodeProto]:
    """Standard nodes whose results have the shapes of the results of `node`, an operator of onnxruntime's own domain.
    None are returned for operators whose shapes are not known here. dtypes: the element types of weights."""
    if node.domain != RUNTIME_DOMAIN or not node.input or not node.output:
        return []
    if channels_last(node):
        return channels_last_alike(node)
    if node.op_type in ("FusedConv", "FusedGemm"):
        made = NodeProto(op_type=node.op_type.removeprefix("Fused"), input=node.input[:3], output=node.output)
        made.attribute.extend(attribute for attribute in node.attribute if attribute.name not in _ADDED)
        return [made]
    if node.op_type in ("FusedMatMul", "TransposeMatMul") and len(node.input) == 2:
        return _product(node)
    if node.op_type in _LIKE_FIRST:
        return [helper.make_node("Identity", node.input[:1], [name]) for name in node.output if name]
    if node.op_type == "BiasSplitGelu":
        return one_of(2, node, node.input[0])
    if node.op_type in _LIKE_FIRST_AND_SUM:
        named = [name for index, name in enumerate(node.output) if name and index in (0, 3)]
        return [helper.make_node("Identity", node.input[:1], [name]) for name in named]
    if node.op_type == "MatMulNBits" and len(node.input) > 1:
        return [helper.make_node("Einsum", node.input[:2], node.output[:1], equation="...k,nbc->...n")]
    if node.op_type == "MatMulBnb4":
        return _product_of_size(node)
    if node.op_type == "GatherBlockQuantized" and len(node.input) > _SCALES:
        return _embedded(node, dtypes.get(node.input[0]) in _OF_FOUR_BITS)
    if node.op_type == "QLinearWhere":
        return [helper.make_node("Where", [*node.input[:2], *node.input[4:5]], node.output[:1])]
    return _quantised(node) if node.op_type in _QUANTISED else attention_alike(node)


def _quantised(node: NodeProto) -> list[NodeProto]:
    if node.op_type == "QGemm" and len(node.input) <= _POINT_OF_GEMM:
        return []
    op_type, read = _QUANTISED[node.op_type]
    made = NodeProto(op_type=op_type, input=node.input[read], output=node.output)
    if op_type != "Identity":
        made.attribute.extend(one for one in node.attribute if one.name not in (CHANNELS_LAST, "alpha"))
    return [made]


def _embedded(node: NodeProto, apart: bool) -> list[NodeProto]:
    """Rows of a table, as a choice between scales. apart: whether each column is an element of its own, not one of
    several in a byte."""
    attrs = {attribute.name: attribute.i for attribute in node.attribute}
    each = 1 if apart else 8 // (attrs.get("bits") or 4)
    names = [f"{node.output[0]}__{part}" for part in ("table", "rows", "choice", "scale")]
    table, rows, choice, scale = names
    return [
        helper.make_node("Concat", [node.input[0]] * each, [table], axis=-1),
        helper.make_node("Gather", [table, node.input[1]], [rows], axis=attrs.get("gather_axis", 0)),
        helper.make_node("Cast", [rows], [choice], to=TensorProto.BOOL),
        helper.make_node("ReduceMax", [node.input[_SCALES]], [scale], keepdims=0),
        helper.make_node("Where", [choice, scale, scale], node.output),
    ]


def _product_of_size(node: NodeProto) -> list[NodeProto]:
    """A product with a matrix whose sizes are attributes."""
    attrs = {attribute.name: attribute.i for attribute in node.attribute}
    size, matrix = f"{node.output[0]}__size", f"{node.output[0]}__matrix"
    return [
        helper.make_node("Constant", [], [size], value_ints=[attrs.get("K", 0), attrs.get("N", 0)]),
        helper.make_node("ConstantOfShape", [size], [matrix]),
        helper.make_node("MatMul", [node.input[0], matrix], node.output[:1]),
    ]


def _product(node: NodeProto) -> list[NodeProto]:
    attrs = {attribute.name: attribute.i for attribute in node.attribute}
    if attrs.get("transBatchA") or attrs.get("transBatchB"):
        return []
    left = "...km" if attrs.get("transA") else "...mk"
    right = "...nk" if attrs.get("transB") else "...kn"
    return [helper.make_node("Einsum", node.input, node.output, equation=f"{left},{right}->...mn")]
