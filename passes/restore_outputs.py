"""Restore constant channels of results behind the last node, so that the layers in front need not compute them.

A stream of channels that is a result of the model, normalised or not, would keep channels of zeros in all its layers.
A Pad adds one zero to it, and a Gather repeats that where the result has constant channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.channel_map import ChannelMap, is_constant
from upscale_onnx.channels.demand import demand
from upscale_onnx.model import Shape
from upscale_onnx.model.bodies import DOMAIN as BODIES
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, replace_uses
from upscale_onnx.passes.restoring import PADS_ARE_AN_INPUT, bytes_added, restoring
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.plan.restorations import share_of_constants, weight_bytes
from upscale_onnx.types import BoolArray, IntArray

_WORTH, _LAYERS = 1 / 8, 2


@dataclass(frozen=True)
class RestoreOutputs(Pass):
    """Restores constant channels of graph outputs that nothing else demands.

    small: whether bytes count, not time: the nodes shall take fewer than the weights that make them. Otherwise,
    several layers make them, and they are no small share: one layer computes a few faster than they are restored.
    """

    small: bool = False
    purpose: ClassVar = "constant channels of results are restored behind the last layer"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        graph, analysis = rewrite.graph, rewrite.analysis
        if analysis.opset < PADS_ARE_AN_INPUT:
            return Changes()
        made = {tensor.name: tensor for tensor in graph.outputs if len(tensor.inputs) == 1}
        # A node with bodies is known by the name of its first result.
        results = {name: tensor for name, tensor in made.items() if tensor.inputs[0].domain != BODIES}
        partly = [name for name in results if share_of_constants(analysis.maps.get(name), rewrite.shapes.get(name)) > 0]
        bytes_of = weight_bytes(analysis) if self.small and partly else {}
        found = {name: analysis.maps[name] for name in partly if self._is_worth_it(analysis, name, bytes_of)}
        chosen = _undemanded(analysis, found)
        if not chosen:
            return Changes()
        names, shapes = Names(graph), dict[str, Shape | None]()
        for name in chosen:
            shapes |= _restore(graph, results[name], found[name], rewrite.shapes[name], names)
        return Changes(len(chosen), shapes)

    def _is_worth_it(self, analysis: Analysis, name: str, bytes_of: Mapping[int, float]) -> bool:
        found = analysis.maps[name]
        dead = _dead(found)
        if self.small:
            return sum(bytes_of.get(int(label), 0.0) for label in dead) > bytes_added(found)
        return dead.size >= _WORTH * found.labels.size and _makers(analysis, dead) >= _LAYERS


def _makers(analysis: Analysis, classes: IntArray) -> int:
    """How many layers make channels of these classes."""
    made = (np.concatenate([out.labels.ravel() for out in step.flow.outputs if out is not None] or [classes[:0]])
            for step in analysis.steps if step.flow.creates)  # fmt: skip
    return sum(bool(np.isin(classes, labels).any()) for labels in made)


def _undemanded(analysis: Analysis, found: dict[str, ChannelMap]) -> list[str]:
    """The results whose constant channels nothing demands but results whose constant channels are restored."""
    chosen = list(found)
    while chosen:
        live = _demanded(analysis, {name: found[name] for name in chosen})
        rest = [name for name in chosen if not live[_dead(found[name])].any()]
        if rest == chosen:
            break
        chosen = rest
    return chosen


def _demanded(analysis: Analysis, restored: dict[str, ChannelMap]) -> BoolArray:
    """Which classes are demanded if the constant channels of these results are not."""
    start = np.zeros(analysis.live.size, bool)
    for name in (*analysis.inputs, *analysis.outputs):
        found = analysis.maps.get(name)
        if found is not None:
            start[found.labels if name not in restored else found.labels[~is_constant(found.state)]] = True
    return demand(analysis.steps, start, start, analysis.outputs)[0]


def _dead(found: ChannelMap) -> IntArray:
    return np.asarray(found.labels[is_constant(found.state)])


def _restore(
    graph: gs.Graph, result: gs.Variable, found: ChannelMap, shape: Shape, names: Names
) -> dict[str, Shape | None]:
    """Put the nodes behind the node that makes `result`. Returns the shapes of new values."""
    node = result.inputs[0]
    slot = next(place for place, tensor in enumerate(node.outputs) if tensor is result)
    inner = gs.Variable(names.fresh(f"{result.name}_narrow"), result.dtype, result.shape)
    replace_uses(result, inner)
    node.outputs[slot] = inner
    added, shapes = restoring(inner, result, found, shape, names, 1)
    place = next(number for number, other in enumerate(graph.nodes) if other is node)
    graph.nodes[place + 1 : place + 1] = added
    return {inner.name: shape, **shapes}
