"""Regions that treat all places of an image alike are proven on a corner of it. This saves most of the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from onnx import AttributeProto, NodeProto, helper, numpy_helper

from upscale_onnx.proof.regions import Network

IMAGE_RANK = 4
_LEAST = 16
_WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")
_POINTWISE = (
    "Abs", "Add", "BatchNormalization", "Clip", "Constant", "Div", "Dropout", "Elu", "Erf", "Exp", "Gelu",
    "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Max", "Min", "Mish",
    "Mul", "Neg", "PRelu", "Pow", "Relu", "Selu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Tanh",
)  # fmt: skip
_ALONG_ONE_AXIS = ("Concat", "Gather", "Split")


def corner_size(network: Network) -> int:
    """The height and width of a corner, in pixels, so that every window of the network fits into it twice."""
    return max([_LEAST, *(2 * _extent(node, network) for node in network.nodes if node.op_type in _WINDOWED)])


def corner_of(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """The shape (N, C, H, W) of a corner of an image of `shape`, cut to `size` along H and W."""
    return (*shape[:2], *(min(extent, size) for extent in shape[2:]))


def works_on_a_corner(network: Network, nodes: Iterable[int]) -> bool:
    """Whether these nodes treat all places of images alike."""
    return all(_works_on_a_corner(network.nodes[number], network) for number in nodes)


def _works_on_a_corner(node: NodeProto, network: Network) -> bool:
    attributes = _attributes(node)
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type in _WINDOWED:
        return "output_shape" not in attributes and attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    if node.op_type in _ALONG_ONE_AXIS:
        return bool(attributes.get("axis", 0) == 1)
    if node.op_type == "Slice":
        axes = attributes.get("axes", ()) if len(node.input) < 4 else _integers(network, node.input[3])
        return list(axes) == [1]
    return node.op_type in _POINTWISE


def _extent(node: NodeProto, network: Network) -> int:
    attributes = _attributes(node)
    weight = network.weights.get(node.input[1]) if len(node.input) > 1 else None
    kernel = attributes.get("kernel_shape", [1] if weight is None else weight.dims[2:])
    dilations = attributes.get("dilations") or [1] * len(kernel)
    return max(((size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=False)), default=1)


def _integers(network: Network, name: str) -> list[int]:
    return numpy_helper.to_array(network.weights[name]).ravel().tolist() if name in network.weights else []


def _attributes(node: NodeProto) -> Mapping[str, Any]:
    kinds = (AttributeProto.INT, AttributeProto.INTS, AttributeProto.STRING)
    return {a.name: helper.get_attribute_value(a) for a in node.attribute if a.type in kinds}
