"""Computations of sizes that do not depend on the channels kept, so that they read no channel."""

from __future__ import annotations

from dataclasses import replace

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Role, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.barrier import BARRIER
from upscale_onnx.channels.view import node_inputs
from upscale_onnx.model import Graph, Node
from upscale_onnx.model.known import Constants


class KnownSizes:
    """Finds which size computations of a graph need no run."""

    def __init__(self, graph: Graph, constants: Constants) -> None:
        self._constants = constants
        self._outputs = {tensor.name for tensor in graph.outputs}
        self._known = self._known_nodes(graph)

    def is_run(self, node: Node) -> bool:
        """Whether a known size is nevertheless computed in a run (a graph output, say). Its input must not shrink."""
        derived = any(tensor.name in self._constants.from_shape for tensor in node.outputs)
        return derived and id(node) not in self._known

    def reads_no_channel(self, node: Node, found: ChannelMap | None) -> bool:
        """Whether readers of a Shape node use only sizes of axes that are no channel axes. `found` is the map of the
        node's input."""
        if found is None or node.outputs[0].name in self._outputs:
            return False
        end = node.attrs.get("end")
        axes = range(found.rank)[int(node.attrs.get("start", 0)) : None if end is None else int(end)]
        return all(self._beside(reader, axes, found.axes) for reader in node.outputs[0].outputs)

    def _beside(self, reader: Node, axes: range, channels: tuple[int, ...]) -> bool:
        """Whether `reader` needs no run, or picks sizes of `axes` that are not in `channels`."""
        if id(reader) in self._known:
            return True
        index = self._constants.array(reader.inputs[1].name) if reader.op == "Gather" else None
        if index is None or any(not -len(axes) <= i < len(axes) for i in index.ravel()):
            return False
        return all(axes[int(i)] not in channels for i in index.ravel())

    def _known_nodes(self, graph: Graph) -> set[int]:
        """The ids of nodes that need no run: their results are known, and so are the results of all nodes that use
        these. Readers come later in graph order, so one backward sweep finds all."""
        # Values that are read otherwise than as inputs of nodes: graph outputs, and values that subgraphs capture.
        exposed = self._outputs | {name for node in graph.nodes for name in node_inputs(node)[len(node.inputs) :]}
        found: set[int] = set()
        for node in reversed(graph.nodes):
            names = [tensor.name for tensor in node.outputs]
            if any(name not in self._constants or name in exposed for name in names):
                continue
            readers = (reader for tensor in node.outputs for reader in tensor.outputs)
            if all(id(r) in found for r in readers if all(t.name in self._constants for t in r.outputs)):
                found.add(id(node))
        return found


class _ShapeOf(Rule):
    """The rule of a Shape node of which only sizes of other axes than channel axes are used: it reads no channel."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        return replace(BARRIER.flow(op, (None,) * len(maps), fresh), role=Role.CARRIER)

    def resize(self, op: Op, request: Request) -> Resize:
        return BARRIER.resize(op, replace(request, maps=(), emissions=()))


SHAPE = _ShapeOf()
