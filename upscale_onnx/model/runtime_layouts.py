"""onnxruntime's operators with channels on the last axis, as standard ones between two Transposes."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, NodeProto, helper

CHANNELS_LAST = "channels_last"
_DOMAIN = "com.microsoft"
# The standard operators whose results have the same shape, once their axes are in the standard order.
_ALIKE: Mapping[str, str] = {
    "NhwcConv": "Conv",
    "NhwcFusedConv": "Conv",
    "NhwcMaxPool": "MaxPool",
    "QLinearAveragePool": "AveragePool",
    "QLinearConv": "QLinearConv",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
}
# How many inputs the standard one has, where it has fewer.
_INPUTS = {"NhwcFusedConv": 3, "QLinearAveragePool": 1, "QLinearGlobalAveragePool": 1}
_IMAGE = 2  # the axes of a window that is not told
_ADDED = (CHANNELS_LAST, "activation", "activation_params")


def channels_last(node: NodeProto) -> bool:
    """Whether the last axis of what `node` reads and makes has its channels."""
    return node.op_type.startswith("Nhwc") or any(a.name == CHANNELS_LAST and a.i for a in node.attribute)


def channels_last_alike(node: NodeProto) -> list[NodeProto]:
    """Standard nodes whose result has the shape of that of `node`. None are returned for other operators."""
    if node.op_type not in _ALIKE or not channels_last(node):
        return []
    inner, made = f"{node.output[0]}__first", f"{node.output[0]}__made"
    axes = list(range((_window(node) or _IMAGE) + 2))
    first, last = [0, axes[-1], *axes[1:-1]], [0, *axes[2:], 1]
    alike = NodeProto(op_type=_ALIKE[node.op_type], output=[made])
    alike.input.extend([inner, *node.input[1 : _INPUTS.get(node.op_type)]])
    alike.attribute.extend(attribute for attribute in node.attribute if attribute.name not in _ADDED)
    return [
        helper.make_node("Transpose", node.input[:1], [inner], perm=first),
        alike,
        helper.make_node("Transpose", [made], node.output[:1], perm=last),
    ]


def _window(node: NodeProto) -> int:
    """How many axes the window of `node` has; 0 where the node does not tell."""
    return next((len(attribute.ints) for attribute in node.attribute if attribute.name == "kernel_shape"), 0)


def with_standard_convolutions(model: ModelProto) -> ModelProto:
    """A copy of `model` with ONNX's own QLinearConv in place of onnxruntime's, between Transposes; `model` itself if it
    has none. onnxruntime replaces kernels that saturate sums for ONNX's own alone."""
    if not any(_is_own_convolution(node) for node in model.graph.node):
        return model
    result = ModelProto()
    result.CopyFrom(model)
    made = [standard for node in result.graph.node for standard in _standard(node)]
    del result.graph.node[:]
    result.graph.node.extend(made)
    return result


def _is_own_convolution(node: NodeProto) -> bool:
    named = node.domain == _DOMAIN and node.op_type == "QLinearConv"
    return named and (not channels_last(node) or _window(node) > 0)


def _standard(node: NodeProto) -> list[NodeProto]:
    if not _is_own_convolution(node):
        return [node]
    if channels_last(node):
        return channels_last_alike(node)
    plain = NodeProto(op_type=node.op_type, name=node.name, input=node.input, output=node.output)
    plain.attribute.extend(attribute for attribute in node.attribute if attribute.name not in _ADDED)
    return [plain]
