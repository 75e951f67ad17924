"""Streams: values between linear layers that only additions read, so that the basis of their channels is free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import NodeProto

from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.repair.layers import linear_layers
from upscale_onnx.repair.linear import LinearLayer
from upscale_onnx.runtime.activations import reads


@dataclass(frozen=True)
class Stream:
    """Layers that make, and layers that read, sums of the same channels. No other node reads a value of the stream.

    So the makers may multiply the channels by an invertible matrix, and the readers by its inverse, and the model
    computes the same.
    """

    channels: int
    makers: tuple[LinearLayer, ...]
    readers: tuple[LinearLayer, ...]


def linear_streams(model: onnx.ModelProto) -> tuple[Stream, ...]:
    """The streams of `model`, in the order of their first readers."""
    nodes = model.graph.node
    layers = [layer for layer in linear_layers(model) if not (layer.is_batched or layer.is_inner)]
    constants = constant_tensors(model)
    made_by = {layer.output: layer for layer in layers if _owns_bias(layer, nodes[layer.position])}
    sums = {n.output[0]: n for n in nodes if n.op_type == "Add" and not any(name in constants for name in n.input)}
    members: dict[str, list[str]] = {}
    roots = _joined(sums)
    for name in {*made_by, *sums}:
        members.setdefault(_root(roots, name), []).append(name)
    seen = _seen(model)
    by_position = {layer.position: layer for layer in layers}
    found = []
    for names in members.values():
        stream = _stream(names, made_by, sums, seen, by_position)
        if stream is not None:
            found.append(stream)
    return tuple(sorted(found, key=lambda stream: stream.readers[0].position))


def _stream(
    names: list[str],
    made_by: Mapping[str, LinearLayer],
    sums: Mapping[str, NodeProto],
    seen: Mapping[str, list[tuple[int, NodeProto | None]]],
    by_position: Mapping[int, LinearLayer],
) -> Stream | None:
    """The stream of the values `names`; None if another node makes or reads one of them."""
    if any(name not in names for value in names if value in sums for name in sums[value].input):
        return None
    makers = [made_by[name] for name in names if name in made_by]
    readers: dict[int, LinearLayer] = {}
    for name in names:
        for position, node in seen.get(name, []):
            if node is not None and node.op_type == "Add" and node.output[0] in names:
                continue
            layer = by_position.get(position)
            if layer is None or layer.source != name:
                return None
            readers[position] = layer
    if not readers or not makers or any(layer.group > 1 for layer in (*makers, *readers.values())):
        return None
    widths = {layer.shape[layer.output_axis] for layer in makers} | {layer.channels for layer in readers.values()}
    ranks = {len(layer.shape) if layer.window else 0 for layer in (*makers, *readers.values())}
    if len(widths) != 1 or len(ranks) != 1:
        return None
    ordered = (tuple(sorted(side, key=lambda layer: layer.position)) for side in (makers, readers.values()))
    return Stream(widths.pop(), *ordered)


def _owns_bias(layer: LinearLayer, node: NodeProto) -> bool:
    return layer.bias is not None or len(node.input) < 3 or not node.input[2]


def _seen(model: onnx.ModelProto) -> dict[str, list[tuple[int, NodeProto | None]]]:
    """By value, the positions of the nodes that read it, and the nodes; (-1, None) for an output of the graph."""
    found: dict[str, list[tuple[int, NodeProto | None]]] = {}
    for position, node in enumerate(model.graph.node):
        for name in reads(node):
            found.setdefault(name, []).append((position, node))
    for value in model.graph.output:
        found.setdefault(value.name, []).append((-1, None))
    return found


def _joined(sums: Mapping[str, NodeProto]) -> dict[str, str]:
    """A forest, as parents by name, in which all values that an Add joins have the same root."""
    parents: dict[str, str] = {}
    for output, node in sums.items():
        for name in node.input:
            parents[_root(parents, name)] = _root(parents, output)
    return parents


def _root(parents: Mapping[str, str], name: str) -> str:
    while parents.get(name, name) != name:
        name = parents[name]
    return name
