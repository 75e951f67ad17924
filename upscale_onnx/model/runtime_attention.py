"""Standard nodes whose results have the shapes of those of onnxruntime's attention operators."""

from __future__ import annotations

from onnx import NodeProto, TensorProto, helper

_KEEPING = frozenset(("RotaryEmbedding", "GemmaRotaryEmbedding"))


def attention_alike(node: NodeProto) -> list[NodeProto]:
    """Nodes that stand for the first result of an attention operator, and more results where these have the shape of
    another value. None are returned for other operators."""
    counts = {attribute.name: attribute.i for attribute in node.attribute}
    given = [*node.input, *[""] * (10 - len(node.input))]
    if node.op_type in _KEEPING:
        return [helper.make_node("Identity", given[:1], node.output[:1])]
    if node.op_type == "EmbedLayerNormalization":
        # The second result counts tokens; the third is the sum that is normalised.
        made = [name for index, name in enumerate(node.output) if name and index != 1]
        return [helper.make_node("Gather", [given[2], given[0]], [name]) for name in made]
    if node.op_type == "QAttention":
        return _quantised(node)
    if node.op_type == "Attention":
        sizes = [attribute.ints for attribute in node.attribute if attribute.name == "qkv_hidden_sizes"]
        return _packed(node, list(sizes[0]) if sizes else [])
    if node.op_type == "GroupQueryAttention" and not given[1]:
        return _first_heads(node, counts.get("num_heads", 0), counts.get("kv_num_heads", 0))
    if node.op_type == "GroupQueryAttention" or (node.op_type == "MultiHeadAttention" and given[1] and not given[2]):
        return [helper.make_node("Identity", given[:1], node.output[:1])]
    if node.op_type != "MultiHeadAttention":
        return []
    if not given[1]:
        return _merged(node, helper.make_node("Einsum", given[:1], [""], equation="bsnpd->bsnd"))
    return [helper.make_node("Einsum", [given[0], given[2]], node.output[:1], equation="bsq,blv->bsv")]


def _quantised(node: NodeProto) -> list[NodeProto]:
    product, floats = f"{node.output[0]}__qkv", f"{node.output[0]}__floats"
    made = [helper.make_node("MatMulInteger", node.input[:2], [product])]
    made += [helper.make_node("Cast", [product], [floats], to=TensorProto.FLOAT)]
    return [*made, *one_of(3, node, floats)]


def one_of(parts: int, node: NodeProto, value: str) -> list[NodeProto]:
    """One of `parts` equal parts of the last axis of a value `(batch, length, …)`, by way of an axis of parts."""
    shape, apart = f"{node.output[0]}__shape", f"{node.output[0]}__apart"
    made = [helper.make_node("Constant", [], [shape], value_ints=[0, 0, parts, -1])]
    made += [helper.make_node("Reshape", [value, shape], [apart])]
    return [*made, helper.make_node("Einsum", [apart], node.output[:1], equation="bspw->bsw")]


def _packed(node: NodeProto, sizes: list[int]) -> list[NodeProto]:
    product, sides = f"{node.output[0]}__qkv", [f"{node.output[0]}__q", f"{node.output[0]}__k"]
    made = [helper.make_node("MatMul", node.input[:2], [product])]
    outputs = [*sides, node.output[0]]
    if not sizes:
        return [*made, *one_of(3, node, product)]
    counts = f"{node.output[0]}__sizes"
    made += [helper.make_node("Constant", [], [counts], value_ints=sizes)]
    return [*made, helper.make_node("Split", [product, counts], outputs, axis=2)]


def _first_heads(node: NodeProto, heads: int, groups: int) -> list[NodeProto]:
    names = [f"{node.output[0]}__{part}" for part in ("shape", "apart", "sizes", "first", "rest")]
    shape, apart, sizes, first, rest = names
    made = [helper.make_node("Constant", [], [shape], value_ints=[0, 0, heads + 2 * groups, -1])]
    made += [helper.make_node("Reshape", [node.input[0], shape], [apart])]
    made += [helper.make_node("Constant", [], [sizes], value_ints=[heads, 2 * groups])]
    return [*made, *_merged(node, helper.make_node("Split", [apart, sizes], [first, rest], axis=2))]


def _merged(node: NodeProto, last: NodeProto) -> list[NodeProto]:
    """`last`, whose first result has axes of heads and features, and a Reshape that merges these."""
    shape = f"{node.output[0]}__merged"
    last.output[0] = last.output[0] or f"{node.output[0]}__heads"
    made = [last, helper.make_node("Constant", [], [shape], value_ints=[0, 0, -1])]
    return [*made, helper.make_node("Reshape", [last.output[0], shape], node.output[:1])]
