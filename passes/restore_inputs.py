"""Restore constant channels in front of nodes that read them. What made these channels loses its weights for them.

A Pad and a Gather put the channels back. So the file becomes smaller, and faster where they take less time than the
layers save.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.channels.channel_map import is_constant
from upscale_onnx.model import Shape, set_input
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, replace_nodes
from upscale_onnx.passes.restoring import PADS_ARE_AN_INPUT, bytes_added, restoring
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.plan.restorations import Use, restorations, weight_bytes
from upscale_onnx.types import BoolArray


@dataclass(frozen=True)
class RestoreInputs(Pass):
    """Restores constant channels where weights go for them that take more bytes than the nodes that restore them."""

    purpose: ClassVar = "constant channels are restored in front of nodes that read them"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        analysis = rewrite.analysis
        places = restorations(analysis, rewrite.shapes) if analysis.opset >= PADS_ARE_AN_INPUT else {}
        if not places:
            return Changes()
        names, shapes = Names(rewrite.graph), dict[str, Shape | None]()
        made = [_restored(analysis, name, uses, rewrite.shapes[name], names, shapes) for name, uses in places.items()]
        _put(rewrite.graph, made)
        while made:
            known = {**rewrite.shapes, **{name: shape for name, shape in shapes.items() if shape is not None}}
            tried = analyse(rewrite.graph, known, rewrite.alone)
            bytes_of = weight_bytes(tried)
            vain = [item for item in made if not item.is_of_use(tried, bytes_of)]
            if not vain:
                break
            _take_back(rewrite.graph, vain)
            made = [item for item in made if item not in vain]
        return Changes(len(made), shapes if made else {})


@dataclass(frozen=True, eq=False)
class _Restored:
    """Nodes that restore channels of a value.

    value: its name. dead: `(channels,)`, those that are restored. uses: the nodes that read the result, with the index
    of the input. nodes: those that make it. bytes: what they take in a file.
    """

    value: gs.Variable
    dead: BoolArray
    uses: tuple[tuple[gs.Node, int], ...]
    nodes: tuple[gs.Node, ...]
    bytes: int

    def is_of_use(self, analysis: Analysis, bytes_of: Mapping[int, float]) -> bool:
        """Whether the nodes take fewer bytes than weights that make the restored channels, and that nothing demands any
        longer. A value of which nothing is demanded has no size that could be relied on."""
        labels = analysis.maps[self.value.name].labels.ravel()
        live = analysis.live[labels]
        saved = sum(bytes_of.get(int(label), 0.0) for label in labels[self.dead & ~live])
        return bool(live.any()) and saved > self.bytes


def _restored(
    analysis: Analysis, name: str, uses: Sequence[Use], shape: Shape, names: Names,
    shapes: dict[str, Shape | None],
) -> _Restored:  # fmt: skip
    """The nodes for one value, read by `uses`. Adds the shapes of new values."""
    found, value = analysis.maps[name], names.tensors[name]
    dead = is_constant(found.state).ravel()
    target = gs.Variable(names.fresh(f"{name}_whole"), value.dtype)
    # One zero for each: those of a group that nothing demands go with it.
    nodes, new = restoring(value, target, found, shape, names, int(dead.sum()))
    shapes |= {target.name: shape, **new}
    return _Restored(value, dead, tuple((use.step.node, use.input) for use in uses), tuple(nodes), bytes_added(found))


def _put(graph: gs.Graph, made: Sequence[_Restored]) -> None:
    """Put the nodes in front of the first that reads their result."""
    place = {id(node): number for number, node in enumerate(graph.nodes)}
    before: defaultdict[int, list[gs.Node]] = defaultdict(list)
    for item in made:
        first = min((node for node, _ in item.uses), key=lambda node: place[id(node)])
        before[id(first)] += item.nodes
        for node, index in item.uses:
            set_input(node, index, item.nodes[-1].outputs[0])
    readers = {id(node): node for item in made for node, _ in item.uses}
    replace_nodes(graph, {key: (*nodes, readers[key]) for key, nodes in before.items()})


def _take_back(graph: gs.Graph, vain: Sequence[_Restored]) -> None:
    for item in vain:
        for node, index in item.uses:
            set_input(node, index, item.value)
    replace_nodes(graph, {id(node): () for item in vain for node in item.nodes})
    for item in vain:
        for node in item.nodes:
            node.inputs.clear()
