"""Computations of sizes that come out the same whatever becomes of the channels: nothing reads channels by them."""

from __future__ import annotations

from dataclasses import replace

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.flow import Chooser, Emissions, Flow, Fresh, Maps, Resize, Role
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.barrier import BARRIER
from upscale_onnx.channels.view import node_inputs
from upscale_onnx.model import Graph, Node
from upscale_onnx.model.known import Constants


class KnownSizes:
    """What of the sizes in a graph needs no run."""

    def __init__(self, graph: Graph, constants: Constants) -> None:
        self._constants = constants
        self._outputs = {tensor.name for tensor in graph.outputs}
        self._known = self._known_nodes(graph)

    def is_run(self, node: Node) -> bool:
        """Whether a known size is still computed in a run, as an output is: of values that must not shrink then."""
        derived = any(tensor.name in self._constants.from_shape for tensor in node.outputs)
        return derived and id(node) not in self._known

    def reads_no_channel(self, node: Node, found: ChannelMap | None) -> bool:
        """Whether only sizes beside the channel axes are taken from a Shape node, of a value with the map `found`."""
        if found is None or node.outputs[0].name in self._outputs:
            return False
        end = node.attrs.get("end")
        axes = range(found.rank)[int(node.attrs.get("start", 0)) : None if end is None else int(end)]
        return all(self._beside(reader, axes, found.axes) for reader in node.outputs[0].outputs)

    def _beside(self, reader: Node, axes: range, channels: tuple[int, ...]) -> bool:
        """Whether `reader` picks sizes of `axes`, none of which is one of `channels`, or returns what is known."""
        if id(reader) in self._known:
            return True
        index = self._constants.array(reader.inputs[1].name) if reader.op == "Gather" else None
        if index is None or any(not -len(axes) <= i < len(axes) for i in index.ravel()):
            return False
        return all(axes[int(i)] not in channels for i in index.ravel())

    def _known_nodes(self, graph: Graph) -> set[int]:
        """The nodes, by id, whose results nobody needs a run for: their readers read the constants that are known.
        Readers come behind in graph order, so one sweep back finds all."""
        # Names by which more than the inputs of nodes refer to a value: what subgraphs read from outside, too.
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


class _ShapeOf:
    """Shape of a value, where only sizes beside its channels are used: it reads no channel."""

    data_inputs: int | None = 1

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        return replace(BARRIER.flow(op, (None,) * len(maps), fresh), role=Role.CARRIER)

    def resize(self, op: Op, maps: Maps, emissions: Emissions, out: Maps, choose: Chooser) -> Resize:
        return BARRIER.resize(op, (), (), (), choose)


SHAPE = _ShapeOf()
