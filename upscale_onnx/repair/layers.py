"""The layers that can be re-fitted: Conv, Gemm and MatMul with a constant weight that nothing else uses."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import onnx
from onnx import NodeProto, helper

from upscale_onnx.masks.targets import MaskTarget, constant_roots, constant_tensors, mask_targets, used_names
from upscale_onnx.model.bodies import flat_nodes, opened_nodes
from upscale_onnx.repair.linear import BatchedLayer, LinearLayer, Window

_READERS = ("Conv", "Gemm", "MatMul")


class Placed(NamedTuple):
    """A node of the flat graph. position, is_inner: as those of a `LinearLayer`."""

    position: int
    is_inner: bool
    node: NodeProto


def placed_nodes(model: onnx.ModelProto) -> list[Placed]:
    """All nodes of the flat graph of `model`, in order."""
    opened = opened_nodes(model)
    return [
        Placed(position, node is not outer, node)
        for position, outer in enumerate(model.graph.node)
        for node in flat_nodes([outer], opened)
    ]


def linear_layers(model: onnx.ModelProto) -> tuple[LinearLayer, ...]:
    """The layers of `model` that can be re-fitted, in node order, those in bodies too."""
    tensors, nodes = constant_tensors(model), placed_nodes(model)
    roots = constant_roots((each.node for each in nodes), tensors)
    uses = Counter(roots.get(name, name) for name in used_names(model.graph))
    readers: dict[str, list[NodeProto]] = {}
    for each in nodes:
        for name in each.node.input:
            readers.setdefault(name, []).append(each.node)
    targets = {target.weight: target for target in mask_targets(model)}
    found = []
    for place, each in enumerate(nodes):
        node = each.node
        target = targets.get(roots.get(node.input[1], "")) if len(node.input) > 1 else None
        if target is None or uses[target.weight] != 1 or node.op_type not in _READERS:
            continue
        layer = _layer(each, place, target, tensors)
        if layer is not None:
            found.append(layer if layer.is_batched else _with_added_bias(layer, readers, tensors, uses))
    return tuple(found)


def _layer(
    placed: Placed, place: int, target: MaskTarget, tensors: Mapping[str, onnx.TensorProto]
) -> LinearLayer | None:
    node = placed.node
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    has_bias = len(node.input) > 2 and bool(node.input[2])
    if target.output_axis is None or node.input[0] in tensors or (has_bias and target.bias is None):
        return None
    if node.op_type == "Gemm" and (
        attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0
    ):
        return None
    # Of a MatMul by several matrices in a body, rounds would be another axis.
    is_batched = node.op_type == "MatMul" and len(target.shape) != 2
    if is_batched and (target.matrices == 1 or placed.is_inner):
        return None
    channels = target.shape[target.output_axis]
    if has_bias and target.bias is not None and math.prod(tensors[target.bias].dims) != channels:
        return None
    kind = BatchedLayer if is_batched else LinearLayer
    return kind(
        position=placed.position,
        place=place,
        is_inner=placed.is_inner,
        op_type=node.op_type,
        weight=target.weight,
        shape=target.shape,
        output_axis=target.output_axis,
        group=target.matrices if is_batched else target.group,
        bias=target.bias,
        can_bias=node.op_type != "MatMul",
        source=node.input[0],
        output=node.output[0],
        window=_window(target, attributes) if node.op_type == "Conv" else None,
    )


def _window(target: MaskTarget, attributes: Mapping[str, Any]) -> Window:
    kernel = target.shape[2:]
    ones = [1] * len(kernel)
    return Window(
        kernel=kernel,
        strides=tuple(attributes.get("strides", ones)),
        dilations=tuple(attributes.get("dilations", ones)),
        pads=tuple(attributes.get("pads", [0] * 2 * len(kernel))),
        auto_pad=attributes.get("auto_pad", b"NOTSET").decode(),
    )


def _with_added_bias(
    layer: LinearLayer,
    readers: Mapping[str, list[NodeProto]],
    tensors: Mapping[str, onnx.TensorProto],
    uses: Mapping[str, int],
) -> LinearLayer:
    """`layer` with the constant vector of an Add behind its MatMul as its bias, if there is such an Add."""
    if (
        layer.op_type != "MatMul"
        or layer.is_batched
        or uses[layer.output] != 1
        or len(readers.get(layer.output, [])) != 1
    ):
        return layer
    node = readers[layer.output][0]
    if node.op_type != "Add":
        return layer
    other = node.input[1] if node.input[0] == layer.output else node.input[0]
    channels = layer.shape[layer.output_axis]
    if other not in tensors or uses[other] != 1 or list(tensors[other].dims) != [channels]:
        return layer
    return LinearLayer(**{**vars(layer), "bias": other, "can_bias": True, "output": node.output[0]})
