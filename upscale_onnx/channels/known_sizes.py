"""Computations of sizes that do not depend on the channels kept, so that they read no channel."""

from __future__ import annotations

from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.rules.shape import asked_axes
from upscale_onnx.channels.view import node_inputs
from upscale_onnx.model import Graph, Node
from upscale_onnx.model.known import Constants

_SIZES = 3  # the input of a Resize


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
        axes = asked_axes(node.attrs, found)
        return all(self._beside(reader, axes, found.axes, node.inputs[0].name) for reader in node.outputs[0].outputs)

    def _beside(self, reader: Node, axes: range, channels: tuple[int, ...], source: str) -> bool:
        """Whether `reader` needs no run, or picks sizes of `axes` that are not in `channels`, or states the size of the
        value `source` again where that is resized."""
        if id(reader) in self._known:
            return True
        picked = self._picked(reader, axes)
        if picked is None:
            return False
        return all(axis not in channels for axis in picked) or self._restates(reader, picked, source)

    def _picked(self, reader: Node, axes: range) -> list[int] | None:
        """The axes whose sizes a Gather or a Slice picks; None for other nodes, and where they are not known."""
        given = [self._constants.array(tensor.name) for tensor in reader.inputs[1:]]
        if reader.op == "Gather" and given[0] is not None:
            index = [int(i) for i in given[0].ravel()]
            return [axes[i] for i in index] if all(-len(axes) <= i < len(axes) for i in index) else None
        if reader.op != "Slice" or len(given) < 2 or any(values is None or values.size != 1 for values in given):
            return None
        bounds = [int(values.ravel()[0]) for values in given if values is not None]
        step = bounds[3] if len(bounds) > 3 else 1
        return list(axes[bounds[0] : bounds[1] : step]) if step > 0 else None

    def _restates(self, reader: Node, picked: list[int], source: str) -> bool:
        """Whether the sizes, which are those of the first axes, are only used as the first sizes in a Resize of the
        value itself. Its rule states the size of a channel axis anew."""
        name = reader.outputs[0].name
        if picked != list(range(len(picked))) or name in self._outputs:
            return False
        return all(self._resizes(joined, name, source) for joined in reader.outputs[0].outputs)

    def _resizes(self, joined: Node, name: str, source: str) -> bool:
        """Whether a Concat has the sizes `name` first, and is only used as the sizes of a Resize of `source`."""
        sizes = joined.outputs[0].name
        if joined.op != "Concat" or sizes in self._outputs or _uses(joined, name) != [0]:
            return False
        return all(
            user.op == "Resize"
            and user.inputs[0].name == source
            and not user.attrs.get("axes")
            and _uses(user, sizes) == [_SIZES]
            for user in joined.outputs[0].outputs
        )

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


def _uses(node: Node, name: str) -> list[int]:
    """The inputs of a node that are the value `name`."""
    return [place for place, tensor in enumerate(node.inputs) if tensor.name == name]
