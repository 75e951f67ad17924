"""Quantised models, experts within a node, and equations as layers of plain weights, and zeros brought back from there.

Masks are chosen on the view, where scores see dequantised weights. A zero of the view is the zero point in the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, numpy_helper

from upscale_onnx.masks.apply import used_channels
from upscale_onnx.masks.expert_view import ExpertsView, experts_view
from upscale_onnx.masks.expert_weight import ExpertWeight
from upscale_onnx.masks.pools import Masks
from upscale_onnx.masks.stored_weights import StoredBlocks, StoredSlices
from upscale_onnx.masks.targets import constant_tensors, mask_targets, used_names
from upscale_onnx.masks.viewed_nodes import BEHIND, Stored, viewed_nodes
from upscale_onnx.model.bodies import all_nodes, flat_graphs
from upscale_onnx.model.runtime_operators import default_opset
from upscale_onnx.options import Side
from upscale_onnx.types import Array, BoolArray

_EXPERTS_SINCE = 13  # Split, Unsqueeze and ReduceSum of their view have axes as inputs.


@dataclass(frozen=True, eq=False)
class FloatView:
    """original, model: the quantised model and its view. weights: by name of a weight or bias of the view, how the
    original stores it. weight_of: by bias, the weight of its layer. names: the first outputs of nodes of the original,
    by those of the nodes of the view that they became."""

    original: onnx.ModelProto
    model: onnx.ModelProto
    weights: Mapping[str, Stored]
    weight_of: Mapping[str, str]
    names: Mapping[str, str]

    @property
    def stores_single_zeros(self) -> bool:
        """Whether any channels may be zero, not only those of whole blocks."""
        return not any(isinstance(stored, StoredBlocks) for stored in self.weights.values())

    def layer(self, weight: str, product: str, side: Side) -> str:
        """The first output of the node of the original that has the channels of `side` of a weight, by what a node of
        the view makes with the weight; "" where these are channels within a node."""
        stored = self.weights.get(weight)
        if isinstance(stored, ExpertWeight):
            return str(stored.node.output[0]) if side == stored.outer else ""
        return self.names.get(product, product)

    def read(self, pruned: onnx.ModelProto) -> onnx.ModelProto:
        """The view of a pruned copy of the original."""
        found = float_view(pruned, self.weights)
        return self.model if found is None else found.model

    @property
    def experts(self) -> dict[str, ExpertWeight]:
        """The weights that read neurons of experts, by name."""
        found = {name: stored for name, stored in self.weights.items() if isinstance(stored, ExpertWeight)}
        return {name: stored for name, stored in found.items() if stored.outer == "output"}

    def ordered(self, costs: Mapping[str, Array]) -> FloatView:
        """The view with the neurons of experts by `costs` `(E, neurons)` of weights that read them, the least first."""
        known = {name: self.experts[name].ordered(each) for name, each in costs.items()}
        found = float_view(self.original, {**self.weights, **known})
        assert found is not None
        return found

    def named(self, pruned: onnx.ModelProto, masks: Masks, side: Side) -> dict[str, BoolArray]:
        """By weight of `masks`, what a mask file calls kept (True) so that it makes the pruned copy of the original."""
        found = float_view(pruned, self.weights)
        assert found is not None
        tensors, targets = constant_tensors(found.model), {one.weight: one for one in mask_targets(found.model)}
        kept = {}
        for weight in masks:
            stored, target = found.weights.get(weight), targets[weight]
            if isinstance(stored, ExpertWeight):
                kept[weight] = stored.used(side)
            else:
                turned = target.turned(numpy_helper.to_array(tensors[weight]), side)
                kept[weight] = used_channels(turned, target.axis(side))
        return kept

    def rounded(self, weight: str, values: Array) -> Array:
        """The numbers that the original can hold in place of `values` of a weight of the view."""
        stored = self.weights.get(weight)
        if stored is None:
            return values
        if isinstance(stored, ExpertWeight):
            return stored.holding(values).values
        return stored.rounded(constant_tensors(self.original), values)

    def written(self, changed: onnx.ModelProto, exactly: bool = False) -> onnx.ModelProto:
        """A copy of the original with the values of `changed`, a masked or repaired copy of the view.

        Zeros are zero points: `exactly` where they are, or as far as the weight can shrink. A weight with other new
        values is rounded, with larger scales where it needs them; its bias is stored anew, as its scale is a multiple
        of these.
        """
        result = onnx.ModelProto()
        result.CopyFrom(self.original)
        theirs, dense, ours = constant_tensors(changed), constant_tensors(self.model), constant_tensors(result)
        for name, tensor in theirs.items():
            if name not in self.weights and name in ours and name in dense and tensor != dense[name]:
                ours[name].CopyFrom(tensor)
        growth: dict[str, Array] = {}
        for name in sorted(self.weights, key=lambda each: each in self.weight_of):  # biases behind their weights
            stored, grown = self.weights[name], growth.get(self.weight_of.get(name, ""), np.ones(0))
            before, after = numpy_helper.to_array(dense[name]), numpy_helper.to_array(theirs[name])
            anew = bool(((after != before) & (after != 0) & np.isfinite(after)).any())
            if isinstance(stored, StoredSlices) and (grown != 1).any():
                stored.enlarge(ours, grown)
                anew = True
            if isinstance(stored, ExpertWeight):
                stored.write_zeros(ours, after == 0, exactly)
                if anew:
                    stored.write(ours, after)
            elif anew:
                growth[name] = stored.write(ours, after)
            elif (after != before).any():
                stored.write_zeros(ours, after == 0, exactly)
        return result


def float_view(model: onnx.ModelProto, known: Mapping[str, Stored] | None = None) -> FloatView | None:
    """The view of `model`; None where nothing of it is viewed. known: the weights of the view of a model that
    `model` is a pruned copy of. Experts within a node are viewed from opset 13."""
    experts = default_opset(model) >= _EXPERTS_SINCE
    uses, given = Counter(used_names(model.graph)), {value.name for value in model.graph.input}
    tensors = {t.name: t for graph in flat_graphs(model) for t in graph.initializer if t.name not in given}
    view = onnx.ModelProto()
    view.CopyFrom(model)
    weights: dict[str, Stored] = {}
    made: dict[str, Array] = {}

    def of_experts(node: NodeProto) -> ExpertsView | None:
        return experts_view(node, tensors, uses, known) if experts else None

    # What a graph holds is read by its own nodes and those of bodies in it. These come first.
    for graph in reversed(flat_graphs(view)):
        count = len(weights)
        nodes = [
            new
            for node in graph.node
            for new in list(viewed_nodes(node, tensors, uses, made, weights, of_experts)) or [node]
        ]
        kept = [tensor for tensor in graph.initializer if tensor.name not in made]
        if len(weights) > count or len(kept) < len(graph.initializer):
            viewed = GraphProto(node=_early(nodes), initializer=kept)
            del graph.node[:], graph.initializer[:]
            graph.MergeFrom(viewed)
    if not weights:
        return None
    view.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in made.items())
    names = {f"{node.output[0]}{BEHIND}": node.output[0] for node in all_nodes(model) if node.output}
    weight_of = {target.bias: target.weight for target in mask_targets(view) if target.bias is not None}
    for bias, weight in weight_of.items():
        stored, other = weights.get(weight), weights.get(bias)
        if isinstance(stored, StoredSlices) and isinstance(other, StoredSlices) and not other.follows:
            weights[weight] = replace(stored, is_free=False)
    return FloatView(model, view, weights, weight_of, names)


def viewed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The view of `model`, or `model` itself where nothing of it is viewed."""
    found = float_view(model)
    return model if found is None else found.model


def _early(nodes: list[NodeProto]) -> list[NodeProto]:
    """`nodes` with each DequantizeLinear right behind what it reads, before layers whose results are added to it."""
    made = {name: place for place, node in enumerate(nodes) for name in node.output}
    places = [
        max(made.get(name, -1) for name in node.input) if node.op_type == "DequantizeLinear" else place
        for place, node in enumerate(nodes)
    ]
    return [nodes[place] for place in sorted(range(len(nodes)), key=lambda place: (places[place], place))]
