"""Computed shapes, bounds and paddings of a graph as constants, so that shape inference can read them.

ONNX's inference follows few of the operators with which exporters compute a shape. It gives up on a Slice or a Pad
with computed bounds, even if these depend on known sizes only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from upscale_onnx.model.evaluate import evaluate_node
from upscale_onnx.model.folding_budget import FoldingBudget
from upscale_onnx.model.known import Constants, constant_value
from upscale_onnx.model.protos import SMALL_ELEMENTS, element_count
from upscale_onnx.model.size_products import quotient
from upscale_onnx.types import Array, Dim, Dims

# The input by which an operator is told the shape of its result, or how often that holds its input.
_SHAPE_AT = {"Reshape": 1, "Expand": 1, "Tile": 1, "Resize": 3}


def known_values(graph: GraphProto, dims: Mapping[str, Dims], opset: int) -> Constants:
    """What is known before a run about the small tensors of `graph`. dims: the dimensions of its values."""
    known = _known_at_first(graph)
    for node in graph.node:
        _visit(known, node, dims, opset)
    return known


def known_after(graph: GraphProto, dims: Mapping[str, Dims], opset: int) -> Iterator[tuple[NodeProto, Constants]]:
    """Each node of `graph`, with what is then known about small tensors. `dims` is read again for each node."""
    known = _known_at_first(graph)
    for node in graph.node:
        _visit(known, node, dims, opset)
        yield node, known


def _known_at_first(graph: GraphProto) -> Constants:
    known = Constants()
    known.budget = FoldingBudget(0, most=SMALL_ELEMENTS)
    for tensor in graph.initializer:
        small = _small(tensor)
        if small is not None:
            known.add(tensor.name, small)
    return known


def _small(tensor: TensorProto) -> Array | None:
    """The values of a small tensor; None for other tensors."""
    if element_count(tensor.dims) > SMALL_ELEMENTS or tensor.external_data:
        return None
    return numpy_helper.to_array(tensor)


def _visit(known: Constants, node: NodeProto, dims: Mapping[str, Dims], opset: int) -> None:
    if node.domain not in ("", "ai.onnx") or not node.output:
        return
    attrs = {attr.name: helper.get_attribute_value(attr) for attr in node.attribute}
    if isinstance(attrs.get("value"), TensorProto):
        attrs["value"] = _small(attrs["value"])
    if node.op_type != "Constant":
        known.visit(node.op_type, attrs, node.input, node.output, dims, partial(evaluate_node, node, opset))
        return
    value = constant_value(attrs, attrs.get("value"))
    if value is not None:
        known.add(node.output[0], value)


def fold_known(graph: GraphProto, known: Constants) -> bool:
    """Replace nodes whose results are known with initializers. Return whether there were any."""
    kept_names = {value.name for value in graph.output}
    folded = [
        node
        for node in graph.node
        if node.op_type != "Constant" and all(o in known and o not in kept_names for o in node.output if o)
    ]
    gone = {id(node) for node in folded}
    kept = [NodeProto.FromString(node.SerializeToString()) for node in graph.node if id(node) not in gone]
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(known.array(o)), o) for node in folded for o in node.output if o
    )
    if folded:
        del graph.node[:]
        graph.node.extend(kept)
    return bool(folded)


def computed_shapes(
    graph: GraphProto, dims: Mapping[str, Dims], dtypes: Mapping[str, int], known: Constants
) -> Iterator[ValueInfoProto]:
    """The results of nodes that are told their shapes, where these are better known than inference found.

    If only the length of a shape vector is known, it gives the rank of the result.
    """
    for node in graph.node:
        place = _SHAPE_AT.get(node.op_type, len(node.input))
        if place >= len(node.input) or not node.input[place] or node.domain not in ("", "ai.onnx"):
            continue
        source, entries, length = dims.get(node.input[0]), known.entries(node.input[place]), dims.get(node.input[place])
        if entries is None and length is not None and len(length) == 1 and isinstance(length[0], int):
            entries = (None,) * length[0]
        if source is None or entries is None or any(_is_other_form(attr) for attr in node.attribute):
            continue
        found = _told(node.op_type, source, entries)
        merged = None if found is None else merged_dims(dims.get(node.output[0]), found)
        if merged is not None:
            yield helper.make_tensor_value_info(node.output[0], dtypes[node.input[0]], merged)


def _is_other_form(attr: AttributeProto) -> bool:
    """Whether a node with this attribute does not take the sizes as they are stated."""
    if attr.name == "keep_aspect_ratio_policy":
        return attr.s != b"stretch"
    return attr.name == "axes" or (attr.name == "allowzero" and bool(attr.i))


def _told(op_type: str, dims: Dims, entries: Dims) -> Dims | None:
    """The dimensions of what an operator makes of a value, as it is told by a vector with these entries."""
    if op_type == "Expand":
        return expanded(dims, entries)
    if op_type == "Reshape":
        return reshaped(dims, entries)
    if len(entries) != len(dims):
        return None
    return entries if op_type == "Resize" else tuple(_times(a, b) for a, b in zip(dims, entries, strict=True))


def _times(size: Dim, count: Dim) -> Dim:
    if isinstance(size, int) and isinstance(count, int):
        return size * count
    return size if count == 1 else count if size == 1 else None


def merged_dims(old: Dims | None, new: Dims) -> Dims | None:
    """The old dimensions, completed with what only the new ones give; None if those give nothing new."""
    if old is None:
        return new
    if len(old) != len(new):
        return None
    merged = tuple(_clearer(a, b) for a, b in zip(old, new, strict=True))
    return None if merged == old else merged


def _clearer(old: Dim, new: Dim) -> Dim:
    """The better of two dimensions: a size before a name, a name from the model before one made up by inference."""
    if isinstance(old, int) or new is None:
        return old
    given = isinstance(new, int) or not new.startswith("unk__")
    return new if old is None or (given and old.startswith("unk__")) or isinstance(new, int) else old


def reshaped(dims: Dims, entries: Dims) -> Dims:
    """The dimensions of the result of a Reshape: 0 copies a size, -1 stands for the remaining elements."""
    copied = tuple(dims[i] if e == 0 and i < len(dims) else e for i, e in enumerate(entries))
    left = quotient(dims, [entry for entry in copied if entry != -1])
    return tuple(left if entry == -1 else entry for entry in copied)


def expanded(dims: Dims, entries: Dims) -> Dims:
    """The dimensions of the result of an Expand: both are broadcast."""
    rank = max(len(dims), len(entries))
    pairs = zip((1,) * (rank - len(dims)) + dims, (1,) * (rank - len(entries)) + entries, strict=True)
    return tuple(_wider(a, b) for a, b in pairs)


def _wider(left: Dim, right: Dim) -> Dim:
    if left in (1, right):
        return right
    if right == 1:
        return left
    return next((side for side in (left, right) if isinstance(side, int)), None)
