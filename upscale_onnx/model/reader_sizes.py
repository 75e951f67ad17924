"""Sizes that follow from the readers of a value: a MatMul with a weight of 64 rows reads 64 columns.

ONNX's inference runs forward only. Where a shape is computed at run time, the readers know what it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from onnx import GraphProto, NodeProto, ValueInfoProto, helper

from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.shape_folding import merged_dims
from upscale_onnx.types import Dim, Dims

# The input, and the axis of that input, whose size a reader knows; and the size.
_Need = tuple[int, int, Dim]


def sizes_from_readers(
    graph: GraphProto, dims: Mapping[str, Dims], dtypes: Mapping[str, int]
) -> Iterator[ValueInfoProto]:
    """The values of `graph` whose sizes are better known by their readers. A reader of another size would fail, so
    that each size holds in every run. dims: the dimensions of values, as far as they are known."""
    made = {name for node in graph.node for name in node.output}
    better: dict[str, Dims] = {}
    for node in graph.node:
        rule = _RULES.get(node.op_type)
        if rule is None or node.domain not in STANDARD_DOMAINS:
            continue
        shapes = [better.get(name, dims.get(name)) for name in node.input]
        for index, axis, size in rule(node, shapes) if len(shapes) > 1 else ():
            name, known = node.input[index], shapes[index]
            if name not in made or known is None or not isinstance(size, int) or not -len(known) <= axis < len(known):
                continue
            stated: list[Dim] = [None] * len(known)
            stated[axis] = size
            merged = merged_dims(known, tuple(stated))
            if merged is not None:
                better[name] = merged
    return (helper.make_tensor_value_info(name, dtypes[name], found) for name, found in better.items())


def _matmul(node: NodeProto, shapes: list[Dims | None]) -> Iterator[_Need]:
    left, right = shapes[:2]
    if left is None or right is None or not left or not right:
        return
    inner = -2 if len(right) > 1 else -1
    yield 0, -1, right[inner]
    yield 1, inner, left[-1]


def _gemm(node: NodeProto, shapes: list[Dims | None]) -> Iterator[_Need]:
    flags = {attr.name: attr.i for attr in node.attribute}
    left, right = shapes[:2]
    inner = (0 if flags.get("transA") else 1, 1 if flags.get("transB") else 0)
    if left is not None and right is not None and len(left) == len(right) == 2:
        yield 0, inner[0], right[inner[1]]
        yield 1, inner[1], left[inner[0]]


def _conv(node: NodeProto, shapes: list[Dims | None]) -> Iterator[_Need]:
    weight = shapes[1]
    group = next((attr.i for attr in node.attribute if attr.name == "group"), 1)
    if weight is None or len(weight) < 2:
        return
    if node.op_type == "ConvTranspose":
        yield 0, 1, weight[0]
    elif isinstance(weight[1], int):
        yield 0, 1, weight[1] * group


def _per_channel(node: NodeProto, shapes: list[Dims | None]) -> Iterator[_Need]:
    scale = shapes[1]
    if scale is not None and len(scale) == 1:
        yield 0, 1, scale[0]


def _normalised(node: NodeProto, shapes: list[Dims | None]) -> Iterator[_Need]:
    # The scale is broadcast to X, so that only an axis of more than one entry says anything.
    for behind, size in enumerate(reversed(shapes[1] or ()), 1):
        if isinstance(size, int) and size > 1:
            yield 0, -behind, size


_RULES: dict[str, Callable[[NodeProto, list[Dims | None]], Iterator[_Need]]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "BatchNormalization": _per_channel,
    "InstanceNormalization": _per_channel,
    "LayerNormalization": _normalised,
    "RMSNormalization": _normalised,
}
