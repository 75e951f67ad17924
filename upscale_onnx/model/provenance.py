"""Provenance: what a compiled model says of itself, as metadata that viewers show beside its nodes.

Source: ONNX IR specification, "Metadata": `metadata_props` of a model, and since IR version 10 of a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence

from onnx import ModelProto, NodeProto, StringStringEntryProto

from upscale_onnx.model.shapes import Shape, infer_shapes
from upscale_onnx.results import Consumer, Producer, Segment

PREFIX = "upscale_onnx."
NODES_SINCE = 10
"""The first IR version in which nodes have metadata."""

Props = Mapping[str, str]


def with_provenance(compiled: ModelProto, source: ModelProto, segments: Iterable[Segment], facts: Props) -> ModelProto:
    """A copy of `compiled` whose metadata holds `facts`, and says of each node what it is in `source`.

    Of a node: `source_layer`, the node of `source` that it stands for; `made_channels` and `read_channels`, as "11/16":
    how many channels it makes and reads, of how many in `source`; `lowering`: how it is handed those that it reads,
    "keep" if it reads the value itself, else the operator in front of it, as "slice" or "gather".

    segments: those of `source`. facts: about the whole model, by key. Keys get the prefix `upscale_onnx.`, and older
    entries with this prefix go.
    """
    found = ModelProto()
    found.CopyFrom(compiled)
    _write(found.metadata_props, facts)
    if found.ir_version >= NODES_SINCE:
        told = _Told(found, source, segments)
        for node in found.graph.node:
            _write(node.metadata_props, dict(told.of(node)))
    return found


class _Told:
    """What is told of the nodes of a compiled model."""

    def __init__(self, compiled: ModelProto, source: ModelProto, segments: Iterable[Segment]) -> None:
        parts = list(segments)
        self._shapes = infer_shapes(compiled)
        self._makers = {name: node for node in compiled.graph.node for name in node.output if name}
        self._sources = {name: node for node in source.graph.node for name in node.output if name}
        self._producers = {one.node: one for part in parts for one in part.producers}
        self._consumers = {one.node: one for part in parts for one in part.consumers}

    def of(self, node: NodeProto) -> Iterator[tuple[str, str]]:
        """The entries of one node, by key."""
        origin = next((self._sources[name] for name in node.output if name in self._sources), None)
        if origin is None:  # a selection, or another node that the compile put in
            return
        name = origin.name or origin.output[0]
        yield "source_layer", name
        if origin.op_type != node.op_type:
            return
        if name in self._producers:
            yield from self._counts("made_channels", self._producers[name], self._producers[name].value)
        if name in self._consumers and len(node.input) == len(origin.input):
            consumer = self._consumers[name]
            read = node.input[list(origin.input).index(consumer.value)] if consumer.value in origin.input else ""
            yield from self._counts("read_channels", consumer, read)
            yield "lowering", self._lowering(read)

    def _counts(self, key: str, one: Producer | Consumer, value: str) -> Iterator[tuple[str, str]]:
        size = _size(self._shapes.get(value), one.axis)
        if size is not None:
            yield key, f"{size}/{one.channels}"

    def _lowering(self, value: str) -> str:
        maker = self._makers.get(value)
        if maker is None or any(name in self._sources for name in maker.output):
            return "keep"
        return str(maker.op_type).lower()


def _size(shape: Shape | None, axis: int) -> int | None:
    if shape is None or shape.dims is None or axis >= len(shape.dims):
        return None
    size = shape.dims[axis]
    return size if isinstance(size, int) else None


def _write(props: MutableSequence[StringStringEntryProto], told: Props) -> None:
    """Replace the entries of this package in `props` by `told`."""
    others: Sequence[StringStringEntryProto] = [entry for entry in props if not entry.key.startswith(PREFIX)]
    del props[:]
    props.extend(others)
    props.extend(StringStringEntryProto(key=f"{PREFIX}{key}", value=value) for key, value in told.items())
