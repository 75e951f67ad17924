"""Segments as objects. The weights of their layers can be read, written and masked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.compat.importance import ChosenImportance, Importance
from upscale_onnx.compat.source import Source
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.criteria import WeightCriterion
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Side
from upscale_onnx.results import Consumer, Producer, Segment
from upscale_onnx.segments import find_segments
from upscale_onnx.types import Array


class Layer:
    """A node of a segment.

    name, op_type: those of the node.
    parameter: the name of the weight that can be masked, None if there is none.

    >>> from upscale_onnx.compat import MaskingManager
    >>> layer = MaskingManager("models/digits_cnet_masked.onnx").segments()[0].layers[0]
    >>> layer.parameter, layer.weight.shape
    ('features.1.0.weight', (48, 48, 3, 3))
    """

    def __init__(self, name: str, op_type: str, parameter: str | None, source: Source) -> None:
        self.name, self.op_type, self.parameter = name, op_type, parameter
        self._source = source

    def __repr__(self) -> str:
        return f"Layer(name={self.name!r}, op_type={self.op_type!r}, parameter={self.parameter!r})"

    @property
    def weight(self) -> Array:
        """The weight as a read-only array. To change the model, assign a new array of the same shape.

        Raises: ArgumentError where the node has no constant weight.
        """
        return self._source.read(self._parameter())

    @weight.setter
    def weight(self, array: Array) -> None:
        self._source.write(self._parameter(), array)

    def _parameter(self) -> str:
        if self.parameter is None:
            raise ArgumentError(f"{self.op_type} {self.name!r} has no constant weight of its own")
        return self.parameter


# Masks the share `amount` of the channels of weights, given by names, by an importance, or else by the manager's.
Prune: TypeAlias = Callable[[Sequence[str], float, ChosenImportance | None], None]


@dataclass(eq=False)
class MaskSegment:
    """A closed set of layers that create and read the same channels.

    producers, consumers: the layers that create these channels, and those that read them.
    layers: the producers or the consumers, whichever the side masks.
    siblings: on the output side, the normalisations of what the producers make. Their `weight` is the scale. Masks
        leave it as it is; the reference masks it along.
    dim: the axis of a torch module's weights that is masked, 0 for outputs and 1 for inputs.

    The sets are the same for every method: "unconstrained" does not split them.

    >>> from upscale_onnx.compat import MaskingManager
    >>> segment = MaskingManager("models/digits_cnet_masked.onnx").segments()[0]
    >>> [layer.parameter for layer in segment.layers]
    ['features.1.0.weight']
    """

    segment: Segment
    producers: tuple[Layer, ...]
    consumers: tuple[Layer, ...]
    layers: tuple[Layer, ...]
    siblings: tuple[Layer, ...]
    dim: int
    prune: Prune
    chosen: ChosenImportance | None = None

    def importance(
        self,
        heuristic: Importance | str | WeightCriterion | None = None,
        calibration: str | Mapping[str, Any] | None = None,
    ) -> MaskSegment:
        """Score the channels of this segment by `heuristic` from now on, not by the manager's. Return the segment.

        The arguments are those of `MaskingManager.importance`.
        """
        self.chosen = ChosenImportance.of(heuristic, calibration)
        return self

    def mask(self, amount: float = 0.5) -> MaskSegment:
        """Mask the layers of this segment only, by its importance, or else by the manager's. Return the segment.

        Raises: ArgumentError where `amount` is not in [0, 1).
        """
        weights = [layer.parameter for layer in self.layers if layer.parameter is not None]
        self.prune(weights, amount, self.chosen)
        return self


def mask_segments(source: Source, side: Side, prune: Prune) -> tuple[MaskSegment, ...]:
    """The segments of the source's model."""
    model = source.model
    targets = {target.node: target for target in mask_targets(model)}
    scales = _scales(model)

    def layer(node: Producer | Consumer) -> Layer:
        target = targets.get(node.node)
        return Layer(node.node, node.op_type, None if target is None else target.weight, source)

    found = []
    for segment in find_segments(analyse(import_graph(model), infer_shapes(model))):
        producers = tuple(layer(node) for node in segment.producers)
        consumers = tuple(layer(node) for node in segment.consumers)
        chosen = consumers if side == "input" else producers
        masked = tuple(x for x in chosen if x.parameter is not None and targets[x.name].axis(side) is not None)
        norms = [scales[x.name] for x in producers if x.name in scales] if side == "output" else []
        siblings = tuple(Layer(name, "BatchNormalization", scale, source) for name, scale in norms)
        found.append(MaskSegment(segment, producers, consumers, masked, siblings, 1 if side == "input" else 0, prune))
    return tuple(found)


def _scales(model: onnx.ModelProto) -> dict[str, tuple[str, str]]:
    """By name of a node, the name and the scale of the normalisation that reads what the node makes."""
    makers = {name: node.name or node.output[0] for node in model.graph.node for name in node.output}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization" and node.input[0] in makers]
    return {makers[node.input[0]]: (node.name or node.output[0], node.input[1]) for node in norms}
